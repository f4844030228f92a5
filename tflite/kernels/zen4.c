// Kernels for AMD's Zen 4: AVX-512 with VNNI, of which loads of 64 bytes gain nothing and
// permutations do. int8 convolutions of many outputs look up in registers; all else is as in
// avx2.c.
#if defined(__x86_64__)
#include "registers.h"

#define HB_VECTOR 32
#define HB_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")))
#define HB_ISA(x) x##_zen4
#define FN static inline __attribute__((always_inline)) HB_TARGET

#include "avx2_lanes.h"
#include "conv_lut.h"

typedef uint8_t byte_vector __attribute__((vector_size(32), may_alias));

FN byte_vector pick(const uint8_t *table, byte_vector index) {
  const __m256i t = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)table));
  return (byte_vector)_mm256_shuffle_epi8(t, (__m256i)index);
}

#define HB_HOLD(v) __asm__ volatile("" ::"v"(v))
#define HB_DENSE_BLOCKS 2
#include "dense_lut.h"

const hb_kernels hb_kernels_zen4 = {
    .name = "zen4",
    .conv = {{&lut_f32_zen4}, {&hb_registers_s8, &lut_s8_zen4}},
    .dense_block = HB_VECTOR,
    .dense_tables_f32 = dense_tables_f32_zen4,
    .dense_tables_s8 = dense_tables_s8_zen4,
    .dense_f32 = dense_f32_zen4,
    .dense_s8 = dense_s8_zen4,
};
#else
typedef int hb_no_zen4_here;
#endif
