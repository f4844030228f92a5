// What the delegate needs of the kernels beyond hashbwn.h.
#ifndef HB_SERVICES_H
#define HB_SERVICES_H

#include "hashbwn.h"

enum { HB_MAX_THREADS = 64 };

void hb_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
void *hb_alloc(size_t bytes);  // 64-byte aligned, NULL on failure; release with free()

// The weights again, one byte each, in the order they were given.
void hb_conv_bits(const hb_conv *conv, uint8_t *bits);
void hb_dense_bits(const hb_dense *dense, uint8_t *bits);
#endif
