// qemu-user plug-in: executed guest instructions between marker system calls, on stderr.
// Marker: getpriority(77, N), which no program makes by chance. qemu 7.2 to 8.x (plug-in API 1).
// gcc -O2 -shared -fPIC -o count_instructions.so count_instructions.c
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef uint64_t plugin_id;
struct block;
struct info;

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct block *));
size_t qemu_plugin_tb_n_insns(const struct block *);
void qemu_plugin_register_vcpu_tb_exec_inline(struct block *, int, void *, uint64_t);
void qemu_plugin_register_vcpu_syscall_cb(plugin_id,
                                          void (*)(plugin_id, unsigned, int64_t, uint64_t, uint64_t,
                                                   uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                                                   uint64_t));

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

enum { GETPRIORITY = 141, MARKER = 77, ADD = 0 };
static uint64_t executed, at_last_marker;

static void translated(plugin_id id, struct block *b) {
  (void)id;
  qemu_plugin_register_vcpu_tb_exec_inline(b, ADD, &executed, qemu_plugin_tb_n_insns(b));
}

static void called(plugin_id id, unsigned cpu, int64_t number, uint64_t a, uint64_t b, uint64_t c,
                   uint64_t d, uint64_t e, uint64_t f, uint64_t g, uint64_t h) {
  (void)id, (void)cpu, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
  if (number != GETPRIORITY || a != MARKER) return;
  fprintf(stderr, "MARK %llu %llu\n", (unsigned long long)b,
          (unsigned long long)(executed - at_last_marker));
  at_last_marker = executed;
}

__attribute__((visibility("default"))) int qemu_plugin_install(plugin_id id, const struct info *i,
                                                               int argc, char **argv) {
  (void)i, (void)argc, (void)argv;
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  qemu_plugin_register_vcpu_syscall_cb(id, called);
  return 0;
}
