// Plug-in for qemu's user-mode emulation: counts executed guest instructions between marks. The
// guest sets a mark by getpriority(77, number), a call that no real program makes; each mark prints
// "MARK <number> <instructions since the one before>". Built without qemu's headers, which Debian
// does not package: these are the declarations of plug-in API version 1 (qemu 4.2 on) used here.
#include <inttypes.h>
#include <stdio.h>

typedef uint64_t plugin_id;
struct block;
typedef void (*translated)(plugin_id, struct block *);
typedef void (*called)(plugin_id, unsigned, int64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                       uint64_t, uint64_t, uint64_t, uint64_t);
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, translated);
void qemu_plugin_register_vcpu_syscall_cb(plugin_id, called);
void qemu_plugin_register_vcpu_tb_exec_inline(struct block *, int, void *, uint64_t);
size_t qemu_plugin_tb_n_insns(const struct block *);
void qemu_plugin_outs(const char *);

enum { ADD_U64 = 0, GETPRIORITY = 141 /* aarch64 */, MARK = 77 };

__attribute__((visibility("default"))) int qemu_plugin_version = 1;
static uint64_t executed, at_last_mark;

static void on_translation(plugin_id id, struct block *block) {
  (void)id;
  qemu_plugin_register_vcpu_tb_exec_inline(block, ADD_U64, &executed,
                                           qemu_plugin_tb_n_insns(block));
}

static void on_call(plugin_id id, unsigned cpu, int64_t call, uint64_t which, uint64_t number,
                    uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f) {
  (void)id, (void)cpu, (void)a, (void)b, (void)c, (void)d, (void)e, (void)f;
  if (call != GETPRIORITY || which != MARK) return;
  char line[96];
  snprintf(line, sizeof line, "MARK %" PRIu64 " %" PRIu64 "\n", number, executed - at_last_mark);
  qemu_plugin_outs(line);
  at_last_mark = executed;
}

__attribute__((visibility("default"))) int qemu_plugin_install(plugin_id id, const void *info,
                                                               int argc, char **argv) {
  (void)info, (void)argc, (void)argv;
  qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
  qemu_plugin_register_vcpu_syscall_cb(id, on_call);
  return 0;
}
