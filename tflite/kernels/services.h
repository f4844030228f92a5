// What the delegate needs of the kernels beyond hashbwn.h.
#ifndef HB_SERVICES_H
#define HB_SERVICES_H

#include "hashbwn.h"

enum { HB_MAX_THREADS = 64, HB_MAX_BITS = 4 };

// The largest weight of n bits in units of alpha.
static inline int hb_top_level(int bits) { return (1 << bits) - 1; }

void hb_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
void *hb_alloc(size_t bytes);  // 64-byte aligned, NULL on failure; release with free()

// The codes again, one byte each, in the order they were given.
void hb_conv_codes(const hb_conv *conv, uint8_t *codes);
void hb_dense_codes(const hb_dense *dense, uint8_t *codes);
#endif
