// NEON kernels: part of every 64-bit ARM CPU, so nothing is asked at run time.
#if defined(__aarch64__)
#include <arm_neon.h>
#include <string.h>

#include "internal.h"

#define HB_VECTOR 16
#define HB_TARGET
#define HB_ISA(x) x##_neon
#define FN static inline __attribute__((always_inline))

FN void transpose4(float32x4_t r[4]) {
  const float32x4x2_t a = vtrnq_f32(r[0], r[1]), b = vtrnq_f32(r[2], r[3]);
  r[0] = vcombine_f32(vget_low_f32(a.val[0]), vget_low_f32(b.val[0]));
  r[1] = vcombine_f32(vget_low_f32(a.val[1]), vget_low_f32(b.val[1]));
  r[2] = vcombine_f32(vget_high_f32(a.val[0]), vget_high_f32(b.val[0]));
  r[3] = vcombine_f32(vget_high_f32(a.val[1]), vget_high_f32(b.val[1]));
}

FN void pack_f32(const char *const *from, int channels, float *x) {
  for (int part = 0; part < HB_LANES_F32; part += 4) {
    int c = 0;
    for (; c + 4 <= channels; c += 4) {
      float32x4_t r[4];
      for (int l = 0; l < 4; ++l) r[l] = vld1q_f32((const float *)from[part + l] + c);
      transpose4(r);
      for (int i = 0; i < 4; ++i) vst1q_f32(x + (c + i) * HB_LANES_F32 + part, r[i]);
    }
    for (; c < channels; ++c)
      for (int l = part; l < part + 4; ++l) x[c * HB_LANES_F32 + l] = ((const float *)from[l])[c];
  }
}

// Eight rows of 16 bytes -> 16 columns of 8, two to a vector, in three rounds of interleaving.
FN void interleave8(int8x16_t r[8]) {
  int8x16_t s[8];
  for (int i = 0; i < 4; ++i)
    s[i] = vzip1q_s8(r[i], r[i + 4]), s[i + 4] = vzip2q_s8(r[i], r[i + 4]);
  for (int h = 0; h < 2; ++h)
    for (int i = 0; i < 2; ++i) {
      r[4 * h + i] = vzip1q_s8(s[4 * h + i], s[4 * h + i + 2]);
      r[4 * h + 2 + i] = vzip2q_s8(s[4 * h + i], s[4 * h + i + 2]);
    }
  for (int h = 0; h < 4; ++h) {
    s[2 * h] = vzip1q_s8(r[2 * h], r[2 * h + 1]);
    s[2 * h + 1] = vzip2q_s8(r[2 * h], r[2 * h + 1]);
  }
  for (int i = 0; i < 8; ++i) r[i] = s[i];
}

FN void pack_s8(const char *const *from, int channels, int zero, int16_t *x) {
  const int16x8_t z = vdupq_n_s16((int16_t)zero);
  for (int part = 0; part < HB_LANES_S8; part += 16) {
    int c = 0;
    for (; c + 8 <= channels; c += 8) {
      int8x16_t r[8];  // row i: lanes i and i + 8, interleaved, so that rounds end in lane order
      for (int i = 0; i < 8; ++i) {
        const int8x8_t a = vld1_s8((const int8_t *)from[part + i] + c),
                       b = vld1_s8((const int8_t *)from[part + i + 8] + c);
        r[i] = vzip1q_s8(vcombine_s8(a, a), vcombine_s8(b, b));
      }
      interleave8(r);
      for (int i = 0; i < 8; ++i) {
        int16_t *to = x + (c + i) * HB_LANES_S8 + part;
        vst1q_s16(to, vsubq_s16(vmovl_s8(vget_low_s8(r[i])), z));
        vst1q_s16(to + 8, vsubq_s16(vmovl_s8(vget_high_s8(r[i])), z));
      }
    }
    for (; c < channels; ++c)
      for (int l = part; l < part + 16; ++l)
        x[c * HB_LANES_S8 + l] = (int16_t)((signed char)from[l][c] - zero);
  }
}

FN int reach_s16(const int16_t *row, int rows) {
  int16x8_t total[4] = {vdupq_n_s16(0), vdupq_n_s16(0), vdupq_n_s16(0), vdupq_n_s16(0)};
  for (int i = 0; i < rows; ++i, row += HB_LANES_S8)
    for (int v = 0; v < 4; ++v) total[v] = vaddq_s16(total[v], vabsq_s16(vld1q_s16(row + 8 * v)));
  return vmaxvq_s16(vmaxq_s16(vmaxq_s16(total[0], total[1]), vmaxq_s16(total[2], total[3])));
}

FN void store_f32(const float *sums, int channels, const hb_scale *how, char *const *to) {
  const float32x4_t lo = vdupq_n_f32(how->lo), hi = vdupq_n_f32(how->hi);
  for (int n = 0; n < channels; n += 4) {
    const int many = channels - n < 4 ? channels - n : 4;
    float alpha[4] = {0}, bias[4] = {0};
    memcpy(alpha, how->alpha + n, (size_t)many * 4);
    if (how->bias) memcpy(bias, how->bias + n, (size_t)many * 4);
    const float32x4_t a = vld1q_f32(alpha), b = vld1q_f32(bias);
    for (int part = 0; part < HB_LANES_F32; part += 4) {
      float32x4_t r[4];
      for (int i = 0; i < 4; ++i) r[i] = vld1q_f32(sums + (n + i) * HB_LANES_F32 + part);
      transpose4(r);
      for (int l = 0; l < 4; ++l) {
        if (!to[part + l]) continue;
        const float32x4_t v = vminq_f32(hi, vmaxq_f32(lo, vfmaq_f32(b, r[l], a)));
        if (many == 4) {
          vst1q_f32((float *)to[part + l] + n, v);
        } else {
          float tail[4];
          vst1q_f32(tail, v);
          memcpy((float *)to[part + l] + n, tail, (size_t)many * 4);
        }
      }
    }
  }
}

// Eight lanes of one channel.
FN int8x8_t requantise(int32x4_t s0, int32x4_t s1, int32x4_t magnitude, int32x4_t bias,
                       float32x4_t m, float32x4_t lo, float32x4_t hi, int16x8_t zero) {
  const float32x4_t f0 = vmulq_f32(vcvtq_f32_s32(vmlaq_s32(bias, s0, magnitude)), m);
  const float32x4_t f1 = vmulq_f32(vcvtq_f32_s32(vmlaq_s32(bias, s1, magnitude)), m);
  const int32x4_t q0 = vcvtnq_s32_f32(vminq_f32(vmaxq_f32(f0, lo), hi));
  const int32x4_t q1 = vcvtnq_s32_f32(vminq_f32(vmaxq_f32(f1, lo), hi));
  return vqmovn_s16(vaddq_s16(vcombine_s16(vqmovn_s32(q0), vqmovn_s32(q1)), zero));
}

// Stores 8 channels [n, n + 8) of 16 lanes from rows of 32 lanes.
FN void store_bytes(const int8_t *rows, int n, int many, char *const *to) {
  int8x16_t r[8];
  for (int i = 0; i < 8; ++i) r[i] = vld1q_s8(rows + i * HB_LANES_S8);
  interleave8(r);
  for (int l = 0; l < 16; ++l) {
    if (!to[l]) continue;
    const int8x8_t v = l & 1 ? vget_high_s8(r[l / 2]) : vget_low_s8(r[l / 2]);
    if (many == 8) {
      vst1_s8((int8_t *)to[l] + n, v);
    } else {
      int8_t tail[8];
      vst1_s8(tail, v);
      memcpy(to[l] + n, tail, (size_t)many);
    }
  }
}

FN void store_s8(const int16_t *sums, const int32_t *wide, int channels, const hb_requant *how,
                 int8_t *results, char *const *to) {
  const float32x4_t lo = vdupq_n_f32((float)(how->lo - how->out_zero));
  const float32x4_t hi = vdupq_n_f32((float)(how->hi - how->out_zero));
  const int16x8_t zero = vdupq_n_s16((int16_t)how->out_zero);
  for (int n = 0; n < channels; ++n) {
    const int32x4_t a = vdupq_n_s32(how->magnitude ? how->magnitude[n] : 1);
    const int32x4_t b = vdupq_n_s32(how->bias ? how->bias[n] : 0);
    const float32x4_t m = vdupq_n_f32(how->multiplier[n]);
    for (int l = 0; l < HB_LANES_S8; l += 8) {
      const int at = n * HB_LANES_S8 + l;
      const int16x8_t s = vld1q_s16(sums + at);
      int32x4_t s0 = vmovl_s16(vget_low_s16(s)), s1 = vmovl_s16(vget_high_s16(s));
      if (wide) {
        s0 = vaddq_s32(s0, vld1q_s32(wide + at));
        s1 = vaddq_s32(s1, vld1q_s32(wide + at + 4));
      }
      vst1_s8(results + at, requantise(s0, s1, a, b, m, lo, hi, zero));
    }
  }
  for (int n = 0; n < channels; n += 8)
    for (int part = 0; part < HB_LANES_S8; part += 16)
      store_bytes(results + n * HB_LANES_S8 + part, n, channels - n < 8 ? channels - n : 8,
                  to + part);
}

#include "conv_lut.h"

typedef uint8_t byte_vector __attribute__((vector_size(16), may_alias));

FN byte_vector pick(const uint8_t *table, byte_vector index) {
  return (byte_vector)vqtbl1q_u8(vld1q_u8(table), (uint8x16_t)index);
}

#define HB_HOLD(v) __asm__ volatile("" : "+w"(v))
#define HB_DENSE_BLOCKS 4
#include "dense_lut.h"

const hb_kernels hb_kernels_neon = {
    .name = "neon",
    .conv = {{&lut_f32_neon}, {&lut_s8_neon}},
    .dense_block = HB_VECTOR,
    .dense_tables_f32 = dense_tables_f32_neon,
    .dense_tables_s8 = dense_tables_s8_neon,
    .dense_f32 = dense_f32_neon,
    .dense_s8 = dense_s8_neon,
};
#else
typedef int hb_no_neon_here;
#endif
