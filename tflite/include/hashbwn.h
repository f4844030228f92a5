// Convolution and Dense with weights of n = 1 to 4 bits: a code c from 0 to 2^n - 1 stands for
// alpha[o] * (2 * c - (2^n - 1)) in output channel o, an odd multiple of alpha; with one bit,
// -alpha and +alpha. Activations are float32 or int8. Tensors are laid out as TensorFlow Lite does:
// images NHWC, filters OHWI, Dense weights [out][in].
//
// Nothing here trusts its caller's sizes: hb_*_create() checks every extent and every product and
// returns NULL (with a sentence in hb_error) rather than overflow. Objects are immutable after
// creation, so one object may be used by many threads, each with a workspace of its own.
#ifndef HASHBWN_H
#define HASHBWN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define HB_API __declspec(dllexport)
#else
#define HB_API __attribute__((visibility("default")))
#endif

typedef struct {
  int batch, in_h, in_w, in_c;
  int out_h, out_w, out_c;
  int k_h, k_w;
  int stride_h, stride_w;
  int dilation_h, dilation_w;
  int pad_top, pad_left;  // zero rows / columns before the image; what is needed after it follows
} hb_conv_geometry;

// How int8 results are formed: q = clamp(rint((acc * magnitude[o] + bias[o]) *
// multiplier[o]) + out_zero, lo, hi) with acc = sum of signed (x - in_zero),
// rounding halves to even: the float32 requantisation of XNNPACK, within one step of gemmlowp's.
typedef struct {
  int in_zero, out_zero, lo, hi;
  const int32_t *bias;       // [out_c] or NULL
  const int32_t *magnitude;  // [out_c]: |w| of the int8 weights, or NULL for 1
  const float *multiplier;   // [out_c]: in_scale * weight_scale[o] / out_scale
} hb_requant;

// How float results are formed: clamp(acc * alpha[o] + bias[o], lo, hi).
typedef struct {
  float lo, hi;
  const float *bias;   // [out_c] or NULL
  const float *alpha;  // [out_c]
} hb_scale;

typedef struct hb_conv hb_conv;
typedef struct hb_dense hb_dense;
typedef struct hb_pool hb_pool;

// What a convolution is made for: kernels keep weights in a form of their own for each.
typedef enum { HB_F32, HB_S8 } hb_type;
typedef struct {
  hb_type type;  // of activations
  int bits;      // of a weight
  int out_c, k_h, k_w, in_c;
  int dilation_h, dilation_w;
} hb_conv_filter;

// codes: one byte per weight in OHWI order.
HB_API hb_conv *hb_conv_create(const hb_conv_filter *filter, const uint8_t *codes);
HB_API void hb_conv_destroy(hb_conv *conv);
HB_API size_t hb_conv_weight_bytes(const hb_conv *conv);
// Bytes of workspace one call needs on `threads` threads; 0 = the geometry is refused.
HB_API size_t hb_conv_workspace(const hb_conv *conv, const hb_conv_geometry *g, int threads);
// Each runs objects made for its type.
HB_API int hb_conv_f32(const hb_conv *conv, const hb_conv_geometry *g, const hb_scale *scale,
                       const float *x, float *y, void *workspace, hb_pool *pool);
HB_API int hb_conv_s8(const hb_conv *conv, const hb_conv_geometry *g, const hb_requant *requant,
                      const int8_t *x, int8_t *y, void *workspace, hb_pool *pool);

HB_API hb_dense *hb_dense_create(int out_c, int in_c, int bits, const uint8_t *codes);
HB_API void hb_dense_destroy(hb_dense *dense);
HB_API size_t hb_dense_weight_bytes(const hb_dense *dense);
HB_API size_t hb_dense_workspace(const hb_dense *dense);
HB_API int hb_dense_f32(const hb_dense *dense, int batch, const hb_scale *scale, const float *x,
                        float *y, void *workspace, hb_pool *pool);
HB_API int hb_dense_s8(const hb_dense *dense, int batch, const hb_requant *requant, const int8_t *x,
                       int8_t *y, void *workspace, hb_pool *pool);

// A pool of threads - 1 workers; the caller is the last. NULL stands for one thread.
HB_API hb_pool *hb_pool_create(int threads);
HB_API void hb_pool_destroy(hb_pool *pool);
HB_API int hb_pool_threads(const hb_pool *pool);

// Which kernels run, by name: the best for this CPU. hb_isa_at() lists all that it can run, NULL
// after the last, which is "portable". hb_select() overrides the choice for objects created
// afterwards (tests use it); hb_select(NULL) goes back to the best.
HB_API const char *hb_isa(void);
HB_API const char *hb_isa_at(int index);
HB_API int hb_select(const char *isa);
// 1 when the CPU has 8-bit dot-product instructions (VNNI, SDOT), with which int8 convolutions of
// ordinary runtimes change speed.
HB_API int hb_cpu_has_dot(void);
// The last refusal in this thread, one sentence; "" if none.
HB_API const char *hb_error(void);

#ifdef __cplusplus
}
#endif
#endif
