// Lanes in and out of tables with 32-byte vectors, for every x86-64 set: what portable.c defines.
// The including file defines FN, static and inlined for its target, which has AVX2 and FMA.
#include <immintrin.h>
#include <string.h>

// Two rows of four floats in one register.
FN __m256 load_pair(const float *low, const float *high) {
  return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(low)), _mm_loadu_ps(high), 1);
}

// Transposes the 4x4 blocks in both halves of four registers.
FN void transpose4(__m256 r[4]) {
  const __m256 a = _mm256_unpacklo_ps(r[0], r[1]), b = _mm256_unpackhi_ps(r[0], r[1]);
  const __m256 c = _mm256_unpacklo_ps(r[2], r[3]), d = _mm256_unpackhi_ps(r[2], r[3]);
  r[0] = _mm256_shuffle_ps(a, c, 0x44);
  r[1] = _mm256_shuffle_ps(a, c, 0xee);
  r[2] = _mm256_shuffle_ps(b, d, 0x44);
  r[3] = _mm256_shuffle_ps(b, d, 0xee);
}

FN void pack_f32(const char *const *from, int channels, float *x) {
  for (int half = 0; half < HB_LANES_F32; half += 8) {
    const char *const *at = from + half;
    int c = 0;
    for (; c + 4 <= channels; c += 4) {
      __m256 r[4];
      for (int l = 0; l < 4; ++l)
        r[l] = load_pair((const float *)at[l] + c, (const float *)at[l + 4] + c);
      transpose4(r);
      for (int i = 0; i < 4; ++i) _mm256_store_ps(x + (c + i) * HB_LANES_F32 + half, r[i]);
    }
    for (; c < channels; ++c)
      for (int l = 0; l < 8; ++l) x[c * HB_LANES_F32 + half + l] = ((const float *)at[l])[c];
  }
}

// Eight channels of 16 lanes, lanes first, from 16 pointers to 8 bytes.
FN void transpose16x8(const char *const *from, int c, __m128i out[8]) {
  __m128i a[8], b[8];
  for (int i = 0; i < 8; ++i)
    a[i] = _mm_unpacklo_epi8(_mm_loadl_epi64((const __m128i *)(from[i] + c)),
                             _mm_loadl_epi64((const __m128i *)(from[i + 8] + c)));
  for (int i = 0; i < 4; ++i) {  // channels 0-3 in b[0..3], 4-7 in b[4..7]
    b[i] = _mm_unpacklo_epi8(a[i], a[i + 4]);
    b[i + 4] = _mm_unpackhi_epi8(a[i], a[i + 4]);
  }
  for (int h = 0; h < 2; ++h)
    for (int i = 0; i < 2; ++i) {
      a[4 * h + i] = _mm_unpacklo_epi8(b[4 * h + i], b[4 * h + i + 2]);
      a[4 * h + 2 + i] = _mm_unpackhi_epi8(b[4 * h + i], b[4 * h + i + 2]);
    }
  for (int h = 0; h < 4; ++h) {
    out[2 * h] = _mm_unpacklo_epi8(a[2 * h], a[2 * h + 1]);
    out[2 * h + 1] = _mm_unpackhi_epi8(a[2 * h], a[2 * h + 1]);
  }
}

FN void pack_s8(const char *const *from, int channels, int zero, int16_t *x) {
  const __m256i z = _mm256_set1_epi16((int16_t)zero);
  for (int half = 0; half < HB_LANES_S8; half += 16) {
    int c = 0;
    for (; c + 8 <= channels; c += 8) {
      __m128i r[8];
      transpose16x8(from + half, c, r);
      for (int i = 0; i < 8; ++i)
        _mm256_store_si256((__m256i *)(x + (c + i) * HB_LANES_S8 + half),
                           _mm256_sub_epi16(_mm256_cvtepi8_epi16(r[i]), z));
    }
    for (; c < channels; ++c)
      for (int l = half; l < half + 16; ++l)
        x[c * HB_LANES_S8 + l] = (int16_t)((signed char)from[l][c] - zero);
  }
}

FN int reach_s16(const int16_t *row, int rows) {
  __m256i a = _mm256_setzero_si256(), b = a;
  for (int i = 0; i < rows; ++i, row += HB_LANES_S8) {
    a = _mm256_add_epi16(a, _mm256_abs_epi16(_mm256_load_si256((const __m256i *)row)));
    b = _mm256_add_epi16(b, _mm256_abs_epi16(_mm256_load_si256((const __m256i *)(row + 16))));
  }
  a = _mm256_max_epi16(a, b);
  const __m128i m = _mm_max_epi16(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
  // The smallest of what is missing to the largest number: there is no maximum across a vector.
  const __m128i missing = _mm_minpos_epu16(_mm_sub_epi16(_mm_set1_epi16(INT16_MAX), m));
  return INT16_MAX - _mm_extract_epi16(missing, 0);
}

// values[0 .. 7], zero from `many` on.
FN __m256 load_some(const float *values, int many) {
  if (many == 8) return _mm256_loadu_ps(values);
  float some[8] = {0};
  memcpy(some, values, (size_t)many * 4);
  return _mm256_loadu_ps(some);
}

FN void store_f32(const float *sums, int channels, const hb_scale *how, char *const *to) {
  const __m256 lo = _mm256_set1_ps(how->lo), hi = _mm256_set1_ps(how->hi);
  for (int n = 0; n < channels; n += 8, sums += 8 * HB_LANES_F32) {
    const int many = channels - n < 8 ? channels - n : 8;
    const __m256 a = load_some(how->alpha + n, many);
    const __m256 b = how->bias ? load_some(how->bias + n, many) : _mm256_setzero_ps();
    for (int part = 0; part < HB_LANES_F32; part += 4) {
      const float *from = sums + part;
      __m256 r[4];
      for (int i = 0; i < 4; ++i)
        r[i] = load_pair(from + i * HB_LANES_F32, from + (4 + i) * HB_LANES_F32);
      transpose4(r);
      for (int l = 0; l < 4; ++l) {
        if (!to[part + l]) continue;
        // max(lo, v) and min(hi, v) return v where it is NaN, as the portable code does.
        const __m256 v = _mm256_min_ps(hi, _mm256_max_ps(lo, _mm256_fmadd_ps(r[l], a, b)));
        if (many == 8) {
          _mm256_storeu_ps((float *)to[part + l] + n, v);
        } else {
          float tail[8];
          _mm256_storeu_ps(tail, v);
          memcpy((float *)to[part + l] + n, tail, (size_t)many * 4);
        }
      }
    }
  }
}

// 32 lanes of one channel: int32 sums -> bytes in lane order.
FN __m256i requantise(const __m256i sum[4], int n, const hb_requant *how, __m256 lo, __m256 hi,
                      __m256i zero) {
  const __m256i b = _mm256_set1_epi32(how->bias ? how->bias[n] : 0);
  const __m256i a = _mm256_set1_epi32(how->magnitude ? how->magnitude[n] : 1);
  const __m256 m = _mm256_set1_ps(how->multiplier[n]);
  __m256i q[4];
  for (int v = 0; v < 4; ++v) {
    __m256 f =
        _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_add_epi32(_mm256_mullo_epi32(sum[v], a), b)), m);
    q[v] = _mm256_cvtps_epi32(_mm256_min_ps(_mm256_max_ps(f, lo), hi));
  }
  const __m256i w0 = _mm256_add_epi16(_mm256_packs_epi32(q[0], q[1]), zero);
  const __m256i w1 = _mm256_add_epi16(_mm256_packs_epi32(q[2], q[3]), zero);
  return _mm256_permutevar8x32_epi32(_mm256_packs_epi16(w0, w1),
                                     _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

// Stores 8 channels [n, n + 8) of 16 lanes from rows of 32 lanes.
FN void store_bytes(const int8_t *rows, int n, int many, char *const *to) {
  __m128i r[8], s[8];
  for (int i = 0; i < 8; ++i) r[i] = _mm_load_si128((const __m128i *)(rows + i * HB_LANES_S8));
  for (int i = 0; i < 4; ++i) {
    s[i] = _mm_unpacklo_epi8(r[i], r[i + 4]);
    s[i + 4] = _mm_unpackhi_epi8(r[i], r[i + 4]);
  }
  for (int h = 0; h < 2; ++h)
    for (int i = 0; i < 2; ++i) {
      r[4 * h + i] = _mm_unpacklo_epi8(s[4 * h + i], s[4 * h + i + 2]);
      r[4 * h + 2 + i] = _mm_unpackhi_epi8(s[4 * h + i], s[4 * h + i + 2]);
    }
  for (int h = 0; h < 4; ++h) {
    s[2 * h] = _mm_unpacklo_epi8(r[2 * h], r[2 * h + 1]);
    s[2 * h + 1] = _mm_unpackhi_epi8(r[2 * h], r[2 * h + 1]);
  }
  for (int l = 0; l < 16; ++l) {
    if (!to[l]) continue;
    const __m128i v = l & 1 ? _mm_srli_si128(s[l / 2], 8) : s[l / 2];
    if (many == 8) {
      _mm_storel_epi64((__m128i *)(to[l] + n), v);
    } else {
      int8_t tail[8];
      _mm_storel_epi64((__m128i *)tail, v);
      memcpy(to[l] + n, tail, (size_t)many);
    }
  }
}

FN void store_s8(const int16_t *sums, const int32_t *wide, int channels, const hb_requant *how,
                 int8_t *results, char *const *to) {
  const __m256 lo = _mm256_set1_ps((float)(how->lo - how->out_zero));
  const __m256 hi = _mm256_set1_ps((float)(how->hi - how->out_zero));
  const __m256i zero = _mm256_set1_epi16((int16_t)how->out_zero);
  for (int n = 0; n < channels; ++n) {
    __m256i sum[4];
    for (int v = 0; v < 4; ++v) {
      const int at = n * HB_LANES_S8 + 8 * v;
      sum[v] = _mm256_cvtepi16_epi32(_mm_load_si128((const __m128i *)(sums + at)));
      if (wide) sum[v] = _mm256_add_epi32(sum[v], _mm256_load_si256((const __m256i *)(wide + at)));
    }
    _mm256_store_si256((__m256i *)(results + n * HB_LANES_S8),
                       requantise(sum, n, how, lo, hi, zero));
  }
  for (int n = 0; n < channels; n += 8)
    for (int half = 0; half < HB_LANES_S8; half += 16)
      store_bytes(results + n * HB_LANES_S8 + half, n, channels - n < 8 ? channels - n : 8,
                  to + half);
}
