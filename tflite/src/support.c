// Errors, aligned memory, and which kernels this CPU may run.
#include "internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

static _Thread_local char last_error[256];

void hb_fail(const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(last_error, sizeof last_error, format, args);
  va_end(args);
}

const char *hb_error(void) { return last_error; }

void *hb_alloc(size_t bytes) {
  void *p = NULL;
  // posix_memalign rather than aligned_alloc: Android has the latter from API level 28 only.
  if (bytes > SIZE_MAX - 64 || posix_memalign(&p, 64, hb_round_up(bytes ? bytes : 1, 64)) != 0) {
    hb_fail("%zu bytes of memory cannot be had", bytes);
    return NULL;
  }
  return p;
}

#if defined(__x86_64__)
typedef struct {
  bool avx2, dot;
} features;

static features read_features(void) {
  features f = {false, false};
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return f;
  const bool fma = c >> 12 & 1, osxsave = c >> 27 & 1, avx = c >> 28 & 1;
  if (!osxsave || !avx) return f;
  unsigned lo, hi;
  __asm__("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
  if ((lo & 6) != 6 || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return f;
  f.avx2 = fma && (b >> 5 & 1);
  const bool avx512 = (lo & 0xe6) == 0xe6 && (b >> 16 & 1) && (c >> 11 & 1);
  const bool avx_vnni = a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
  f.dot = avx512 || avx_vnni;
  return f;
}
#endif

int hb_cpu_has_dot(void) {
#if defined(__x86_64__)
  return read_features().dot;
#elif defined(__aarch64__) && defined(__linux__)
  return (int)(getauxval(AT_HWCAP) >> 20 & 1);  // HWCAP_ASIMDDP
#else
  return 0;
#endif
}

static const hb_kernels *best(void) {
#if defined(__x86_64__)
  return read_features().avx2 ? &hb_kernels_avx2 : &hb_kernels_portable;
#elif defined(__aarch64__)
  return &hb_kernels_neon;
#else
  return &hb_kernels_portable;
#endif
}

static const hb_kernels *selected;  // set by tests before any thread starts; NULL = best()

const hb_kernels *hb_pick(void) { return selected ? selected : best(); }

const char *hb_isa(void) { return hb_pick()->name; }

int hb_select(const char *isa) {
  const hb_kernels *top = best();
  if (isa == NULL) {
    selected = NULL;
  } else if (strcmp(isa, top->name) == 0) {
    selected = top;
  } else if (strcmp(isa, "portable") == 0) {
    selected = &hb_kernels_portable;
  } else {
    hb_fail("this machine cannot run \"%s\" kernels; it has \"%s\" and \"portable\"", isa,
            top->name);
    return 1;
  }
  return 0;
}
