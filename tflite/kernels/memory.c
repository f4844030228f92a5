// Errors and aligned memory.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "internal.h"

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
