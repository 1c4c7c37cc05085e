/* A qemu plugin: what an emulated arm64 program executes, written when it calls getpriority(0xA76, n) and so names a place.
 *
 * A line for each such call: n, instructions, products of 8-bit numbers by the dot-product instructions (SDOT, UDOT), by the
 * matrix instructions that a Cortex-A76 does not have (SMMLA, UMMLA, USMMLA), and of floats (FMLA). For one thread: the counters
 * are not atomic. The types are those of version 1 of qemu's plugin interface, whose header Debian does not pack.
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define EXPORTED __attribute__((visibility("default")))
#define GETPRIORITY 141 /* arm64 */
#define PLACE 0xA76

typedef uint64_t Id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef void (*Translated)(Id id, struct qemu_plugin_tb *block);
typedef void (*Called)(Id id, unsigned int cpu, int64_t number, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5,
                       uint64_t a6, uint64_t a7, uint64_t a8);
enum { ADD };
void qemu_plugin_register_vcpu_tb_trans_cb(Id id, Translated callback);
void qemu_plugin_register_vcpu_syscall_cb(Id id, Called callback);
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *block, int operation, void *counter, uint64_t value);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *block, size_t index);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *instruction);

EXPORTED int qemu_plugin_version = 1;

enum { INSTRUCTIONS, DOT, MATRIX, FLOAT, COUNTERS };
static uint64_t counters[COUNTERS];
static FILE *out;

/* Arm Architecture Reference Manual, "C4.1 A64 instruction set encoding", Advanced SIMD. Bit 30: all 128 bits. */
static const struct {
  uint32_t mask, value;
  int counter;
  uint64_t products; /* in 128 bits */
} kinds[] = {
    {0x9FE0FC00, 0x0E809400, DOT, 16},    /* SDOT, UDOT (bit 29) of vectors */
    {0x9FC0F400, 0x0F80E000, DOT, 16},    /* by element */
    {0xDFE0FC00, 0x4E80A400, MATRIX, 32}, /* SMMLA, UMMLA */
    {0xFFE0FC00, 0x4E80AC00, MATRIX, 32}, /* USMMLA */
    {0xBFE0FC00, 0x0E20CC00, FLOAT, 4},   /* FMLA of vectors, single precision */
    {0xBFC0F400, 0x0F801000, FLOAT, 4},   /* by element */
    {0xBFE0FC00, 0x0E400C00, FLOAT, 8},   /* half precision */
    {0xBFC0F400, 0x0F001000, FLOAT, 8},   /* by element */
};

static void translated(Id id, struct qemu_plugin_tb *block) {
  uint64_t found[COUNTERS] = {qemu_plugin_tb_n_insns(block)};
  for (size_t i = 0; i < qemu_plugin_tb_n_insns(block); i++) {
    uint32_t code;
    memcpy(&code, qemu_plugin_insn_data(qemu_plugin_tb_get_insn(block, i)), sizeof code);
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
      if ((code & kinds[k].mask) == kinds[k].value) found[kinds[k].counter] += kinds[k].products >> (code >> 30 & 1 ? 0 : 1);
  }
  for (int i = 0; i < COUNTERS; i++)
    if (found[i]) qemu_plugin_register_vcpu_tb_exec_inline(block, ADD, &counters[i], found[i]);
  (void)id;
}

static void called(Id id, unsigned int cpu, int64_t number, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5,
                   uint64_t a6, uint64_t a7, uint64_t a8) {
  if (number != GETPRIORITY || a1 != PLACE) return;
  fprintf(out, "%" PRIu64, a2);
  for (int i = 0; i < COUNTERS; i++) fprintf(out, " %" PRIu64, counters[i]);
  fputc('\n', out);
  fflush(out);
  (void)id, (void)cpu, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
}

/* One argument: out=FILE. */
EXPORTED int qemu_plugin_install(Id id, const void *info, int argc, char **argv) {
  (void)info;
  if (argc != 1 || strncmp(argv[0], "out=", 4) || !(out = fopen(argv[0] + 4, "w"))) return 1;
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  qemu_plugin_register_vcpu_syscall_cb(id, called);
  return 0;
}
