// Kernels in plain C, for any CPU; also the reference of what each function does.
#include "internal.h"

#define HB_VECTOR 16
#define HB_TARGET
#define HB_ISA(x) x##_portable

// x[c][lane] = from[lane][c]
static void pack_f32(const char *const *from, int channels, float *x) {
  for (int c = 0; c < channels; ++c)
    for (int l = 0; l < HB_LANES_F32; ++l) x[c * HB_LANES_F32 + l] = ((const float *)from[l])[c];
}

// x[c][lane] = from[lane][c] - zero
static void pack_s8(const char *const *from, int channels, int zero, int16_t *x) {
  for (int c = 0; c < channels; ++c)
    for (int l = 0; l < HB_LANES_S8; ++l)
      x[c * HB_LANES_S8 + l] = (int16_t)((signed char)from[l][c] - zero);
}

// The largest |sum| any choice of signs can reach in any lane over `rows` rows of activations.
static int reach_s16(const int16_t *row, int rows) {
  int16_t total[HB_LANES_S8] = {0}, most = 0;
  for (int i = 0; i < rows; ++i, row += HB_LANES_S8)
    for (int l = 0; l < HB_LANES_S8; ++l) total[l] += (int16_t)(row[l] < 0 ? -row[l] : row[l]);
  for (int l = 0; l < HB_LANES_S8; ++l) most = total[l] > most ? total[l] : most;
  return most;
}

// to[lane][n] = clamp(sums[n][lane] * alpha[n] + bias[n]) where to[lane] is not NULL
static void store_f32(const float *sums, int channels, const hb_scale *how, char *const *to) {
  for (int l = 0; l < HB_LANES_F32; ++l) {
    if (!to[l]) continue;
    for (int n = 0; n < channels; ++n) {
      float v = sums[n * HB_LANES_F32 + l] * how->alpha[n] + (how->bias ? how->bias[n] : 0);
      v = v < how->lo ? how->lo : v;
      ((float *)to[l])[n] = v > how->hi ? how->hi : v;
    }
  }
}

// to[lane][n] = hb_requantise(sums[n][lane] + wide[n][lane]); wide may be NULL
static void store_s8(const int16_t *sums, const int32_t *wide, int channels, const hb_requant *how,
                     int8_t *results, char *const *to) {
  (void)results;
  for (int l = 0; l < HB_LANES_S8; ++l) {
    if (!to[l]) continue;
    for (int n = 0; n < channels; ++n) {
      const int i = n * HB_LANES_S8 + l;
      to[l][n] = (char)hb_requantise(sums[i] + (wide ? wide[i] : 0), n, how);
    }
  }
}

#include "conv_lut.h"

const hb_kernels hb_kernels_portable = {
    .name = "portable",
    .conv = {{&lut_f32_portable}, {&lut_s8_portable}},
    .dense_block = HB_VECTOR,
};
