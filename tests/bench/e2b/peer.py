"""llama.cpp's side, in its own environment: `python peer.py FOLDER THREADS`, then one job a line."""

import ctypes
import sys
from pathlib import Path
from typing import Any

import llama_cpp as lib
import numpy as np
from llama_cpp import mtmd_cpp as mtmd
from work import AFTER, BEFORE, CAPACITY, Stopwatch, memory, serve, sound, tokens

BATCH = 512


class Peer:
    def __init__(self, folder: Path, threads: int) -> None:
        self._quiet = lib.llama_log_callback(lambda level, text, data: None)
        lib.llama_log_set(self._quiet, ctypes.c_void_p())
        mtmd.mtmd_log_set(self._quiet, ctypes.c_void_p())
        mtmd.mtmd_helper_log_set(self._quiet, ctypes.c_void_p())
        lib.llama_backend_init()
        self.model = lib.llama_model_load_from_file(str(folder / "decoder.gguf").encode(), lib.llama_model_default_params())
        settings = lib.llama_context_default_params()
        settings.n_ctx, settings.n_batch, settings.n_ubatch = CAPACITY, BATCH, BATCH
        settings.n_threads = settings.n_threads_batch = threads
        settings.swa_full = False
        self.context = lib.llama_init_from_model(self.model, settings)
        audio = mtmd.mtmd_context_params_default()
        audio.use_gpu, audio.print_timings, audio.n_threads = False, False, threads
        self.audio = mtmd.mtmd_init_from_file(str(folder / "encoder.gguf").encode(), self.model, audio)
        if not self.context or not self.audio:
            raise SystemExit("llama.cpp cannot open the files")
        self.vocab = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(self.model))
        self.length = 0

    def clear(self) -> None:
        lib.llama_memory_clear(lib.llama_get_memory(self.context), False)
        self.length = 0

    def feed(self, ids: list[int]) -> None:
        """The last token's logits are computed, no others."""
        for begin in range(0, len(ids), BATCH):
            part = ids[begin : begin + BATCH]
            array = (lib.llama_token * len(part))(*part)  # the batch only points at it
            if lib.llama_decode(self.context, lib.llama_batch_get_one(array, len(part))):
                raise SystemExit("llama_decode failed")
            self.length += len(part)

    def next(self) -> int:
        logits = np.ctypeslib.as_array(lib.llama_get_logits_ith(self.context, -1), (self.vocab,))
        return int(logits.argmax())

    def prefill(self, context: int) -> dict[str, float]:
        """`context` tokens, up to the logits of the next."""
        self.clear()
        watch = Stopwatch()
        self.feed(tokens(context, context))
        self.next()
        return watch.read()

    def decode(self, count: int) -> dict[str, float]:
        """The next tokens after what is in the cache."""
        watch = Stopwatch()
        for _ in range(count):
            self.feed([self.next()])
        return watch.read()

    def hear(self, seconds: float) -> dict[str, Any]:
        """The whole sound at once, at its end: llama.cpp has no way to encode while it arrives."""
        self.clear()
        self.feed(tokens(BEFORE, 0))
        pcm = sound(seconds)
        watch = Stopwatch()
        bitmap = mtmd.mtmd_bitmap_init_from_audio(len(pcm), pcm.ctypes.data_as(ctypes.POINTER(ctypes.c_float)))
        chunks = mtmd.mtmd_input_chunks_init()
        marker = mtmd.mtmd_default_marker()
        text = mtmd.mtmd_input_text(text=marker, text_len=len(marker), add_special=False, parse_special=True)
        bitmaps = (mtmd.mtmd_bitmap_p_ctypes * 1)(bitmap)
        if mtmd.mtmd_tokenize(self.audio, chunks, ctypes.byref(text), bitmaps, 1):
            raise SystemExit("mtmd_tokenize failed")
        encoded = self.encode(chunks)
        position = lib.llama_pos(0)
        if mtmd.mtmd_helper_eval_chunks(self.audio, self.context, chunks, self.length, 0, BATCH, False, ctypes.byref(position)):
            raise SystemExit("mtmd_helper_eval_chunks failed")
        self.length = position.value
        self.feed(tokens(AFTER, 1))
        self.next()
        after = watch.read()
        mtmd.mtmd_input_chunks_free(chunks)
        mtmd.mtmd_bitmap_free(bitmap)
        return {"after_s": after["wall_s"] - encoded, "encode_s": encoded, "tokens": self.length - BEFORE}

    def encode(self, chunks: Any) -> float:
        """The encoder once more by itself, to know its part; seconds."""
        watch = Stopwatch()
        for i in range(mtmd.mtmd_input_chunks_size(chunks)):
            chunk = mtmd.mtmd_input_chunks_get(chunks, i)
            if mtmd.mtmd_input_chunk_get_type(chunk) == mtmd.MTMD_INPUT_CHUNK_TYPE_AUDIO:
                mtmd.mtmd_encode_chunk(self.audio, chunk)
        return watch.read()["wall_s"]

    def memory(self) -> dict[str, float]:
        return memory()


def main() -> None:
    side = Peer(Path(sys.argv[1]), int(sys.argv[2]))
    serve({"prefill": side.prefill, "decode": side.decode, "hear": side.hear, "memory": side.memory})


if __name__ == "__main__":
    main()
