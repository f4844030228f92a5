// AVX-512 kernels with VNNI, for CPUs with fast permutations: as avx512.c, and int8 convolutions of
// many outputs look up in registers.
#if defined(__x86_64__)
#include "registers.h"

#define HB_VECTOR 64
#define HB_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")))
#define HB_ISA(x) x##_avx512vnni
#define FN static inline __attribute__((always_inline)) HB_TARGET

#include "avx2_lanes.h"
#include "conv_lut.h"

typedef uint8_t byte_vector __attribute__((vector_size(64), may_alias));

FN byte_vector pick(const uint8_t *table, byte_vector index) {
  const __m512i t = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)table));
  return (byte_vector)_mm512_shuffle_epi8(t, (__m512i)index);
}

#define HB_HOLD(v) __asm__ volatile("" : "+v"(v))
#define HB_DENSE_BLOCKS 2
#include "dense_lut.h"

const hb_kernels hb_kernels_avx512vnni = {
    .name = "avx512vnni",
    .conv = {{&lut_f32_avx512vnni}, {&hb_registers_s8, &lut_s8_avx512vnni}},
    .dense_block = HB_VECTOR,
    .dense_tables_f32 = dense_tables_f32_avx512vnni,
    .dense_tables_s8 = dense_tables_s8_avx512vnni,
    .dense_f32 = dense_f32_avx512vnni,
    .dense_s8 = dense_s8_avx512vnni,
};
#else
typedef int hb_no_avx512vnni_here;
#endif
