// What this CPU has, and which of the sets of isa.inc run on it.
#include <stdatomic.h>
#include <string.h>

#include "internal.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

#if defined(__x86_64__)
static bool bit(unsigned word, int i) { return word >> i & 1; }

// How fast AVX-512 is. Measured: AMD's Zen 4 (family 25), which loads 64 bytes once a cycle, and
// Zen 5 (family 26, but for the models for laptops). By their manuals: Intel's, on which
// permutations are two operations.
static unsigned read_speed(void) {
  unsigned a, b, c, d;
  __cpuid(0, a, b, c, d);
  if (b == signature_INTEL_ebx) return HB_WIDE_LOADS;
  if (b != signature_AMD_ebx) return 0;
  __cpuid(1, a, b, c, d);
  const unsigned family = (a >> 8 & 15) + (a >> 20 & 255), model = (a >> 4 & 15) | (a >> 12 & 240);
  const bool full = family == 26 && (model < 0x20 || (model >= 0x40 && model < 0x50));
  return HB_FAST_PERMUTES | (full ? HB_WIDE_LOADS : 0);
}

static unsigned read_features(void) {
  unsigned a, b, c, d, lo, hi, found = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
  const bool fma = bit(c, 12), osxsave = bit(c, 27), avx = bit(c, 28);
  if (!osxsave || !avx) return 0;
  __asm__("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
  if ((lo & 6) != 6 || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
  if (fma && bit(b, 5)) found |= HB_AVX2;
  if ((lo & 0xe6) == 0xe6 && bit(b, 16)) {  // the system saves 64-byte registers
    if (bit(b, 17) && bit(b, 30) && bit(b, 31)) found |= HB_AVX512;
    if (bit(c, 1)) found |= HB_AVX512_VBMI;
    if (bit(c, 11)) found |= HB_AVX512_VNNI;
    found |= read_speed();
  }
  if (a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d) && bit(a, 4)) found |= HB_AVX_VNNI;
  return found;
}
#elif defined(__aarch64__) && defined(__linux__)
static unsigned read_features(void) {
  unsigned found = 0;
  if (getauxval(AT_HWCAP) >> 20 & 1) found |= HB_ASIMDDP;
  if (getauxval(AT_HWCAP2) >> 13 & 1) found |= HB_I8MM;
  return found;
}
#else
static unsigned read_features(void) { return 0; }
#endif

// Asking takes long on virtual machines.
static unsigned features(void) {
  enum { KNOWN = 1 << 30 };
  static atomic_uint known;
  unsigned found = atomic_load(&known);
  if (!found) atomic_store(&known, found = read_features() | KNOWN);
  return found;
}

int hb_cpu_has_dot(void) { return (features() & (HB_AVX512_VNNI | HB_AVX_VNNI | HB_ASIMDDP)) != 0; }

static const struct {
  const hb_kernels *kernels;
  unsigned needs, wants;
} sets[] = {
#define HB_SET(name, needs, wants) {&hb_kernels_##name, needs, wants},
#include "isa.inc"
#undef HB_SET
};
enum { SETS = sizeof sets / sizeof *sets };

// The set number `index` among those that can run here, NULL after the last.
static const hb_kernels *set_at(int index) {
  const unsigned has = features();
  for (int i = 0; i < SETS; ++i)
    if ((sets[i].needs & ~has) == 0 && index-- == 0) return sets[i].kernels;
  return NULL;
}

static const hb_kernels *best(void) {
  const unsigned has = features();
  for (int i = 0;; ++i)  // portable.c needs nothing
    if (((sets[i].needs | sets[i].wants) & ~has) == 0) return sets[i].kernels;
}

static const hb_kernels *selected;  // set by tests before any thread starts; NULL = best()

const hb_kernels *hb_pick(void) { return selected ? selected : best(); }

const char *hb_isa(void) { return hb_pick()->name; }

const char *hb_isa_at(int index) {
  const hb_kernels *k = index < 0 ? NULL : set_at(index);
  return k ? k->name : NULL;
}

int hb_select(const char *isa) {
  const hb_kernels *found = NULL;
  for (int i = 0; isa && set_at(i); ++i)
    if (strcmp(isa, set_at(i)->name) == 0) found = set_at(i);
  if (isa && !found) {
    hb_fail("this machine has no \"%s\" kernels; the best it has are \"%s\"", isa, best()->name);
    return 1;
  }
  selected = found;
  return 0;
}
