/* llama.cpp's side: peer DECODER.gguf LOGITS PROMPT TOKENS, with one thread. Places are named as in count.c. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "llama.h"

static void place(int n) { syscall(SYS_getpriority, 0xA76, n); }

static void quiet(enum ggml_log_level level, const char *text, void *data) {
  if (level == GGML_LOG_LEVEL_ERROR) fputs(text, stderr);
  (void)data;
}

int main(int argc, char **argv) {
  if (argc != 5) return 2;
  const int prompt = atoi(argv[3]), tokens = atoi(argv[4]);
  llama_log_set(quiet, NULL);
  llama_backend_init();
  struct llama_model_params how = llama_model_default_params();
  how.n_gpu_layers = 0;
  struct llama_model *model = llama_model_load_from_file(argv[1], how);
  if (!model) return 1;
  struct llama_context_params settings = llama_context_default_params();
  settings.n_ctx = 256;
  settings.n_batch = settings.n_ubatch = 128;
  settings.n_threads = settings.n_threads_batch = 1;
  struct llama_context *context = llama_init_from_model(model, settings);
  FILE *out = fopen(argv[2], "wb");
  if (!context || !out) return 1;
  const int vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
  llama_token ids[256];
  for (int i = 0; i < prompt + tokens; i++) ids[i] = 1000 + 7919 * i % 20000; /* as in ours.py */
  place(0);
  for (int at = 0, step = 0; at < prompt + tokens; step++) {
    const int count = at ? 1 : prompt;
    if (llama_decode(context, llama_batch_get_one(ids + at, count))) return 1;
    place(step + 1);
    fwrite(llama_get_logits_ith(context, -1), sizeof(float), vocab, out);
    at += count;
  }
  return fclose(out);
}
