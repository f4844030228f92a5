// Random shapes against plain loops: every set of kernels this CPU can run, one and three threads.
// test_kernels [rounds] [seed]; exit status 1 and the shape on the first difference.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hashbwn.h"

static uint64_t state;

static int any(int low, int high) {  // xorshift, inclusive
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return low + (int)(state % (uint64_t)(high - low + 1));
}

static float any_float(void) { return (float)any(-10000, 10000) / 5000; }

static void *need(size_t bytes) {
  void *p = NULL;
  if (posix_memalign(&p, 64, bytes ? bytes : 1)) exit(2);
  return p;
}

typedef struct {
  hb_conv_geometry g;
  int bits;
  uint8_t *codes;
  float *alpha, *bias, *multiplier;
  int32_t *bias_q, *magnitude;
  int in_zero, out_zero, lo, hi;
} problem;

static size_t x_count(const hb_conv_geometry *g) {
  return (size_t)g->batch * (size_t)g->in_h * (size_t)g->in_w * (size_t)g->in_c;
}
static size_t y_count(const hb_conv_geometry *g) {
  return (size_t)g->batch * (size_t)g->out_h * (size_t)g->out_w * (size_t)g->out_c;
}

// A Dense layer is the 1x1 convolution over a row of pixels.
static hb_conv_geometry dense_geometry(void) {
  const int rows = any(1, 3), large = any(0, 7) == 0;  // sums in several steps
  return (hb_conv_geometry){.batch = 1,
                            .in_h = 1,
                            .in_w = rows,
                            .in_c = large ? any(2000, 9000) : any(1, 700),
                            .out_h = 1,
                            .out_w = rows,
                            .out_c = any(1, 70),
                            .k_h = 1,
                            .k_w = 1,
                            .stride_h = 1,
                            .stride_w = 1,
                            .dilation_h = 1,
                            .dilation_w = 1};
}

static hb_conv_geometry conv_geometry(void) {
  hb_conv_geometry g = {.batch = any(1, 3),
                        .in_h = any(1, 17),
                        .in_w = any(1, 17),
                        .in_c = any(0, 1) ? any(1, 40) : 8 * any(1, 6),
                        .out_c = any(0, 3) ? any(1, 40) : any(41, 150),
                        .k_h = any(1, 5),
                        .k_w = any(1, 5),
                        .stride_h = any(1, 3),
                        .stride_w = any(1, 3),
                        .dilation_h = any(1, 3),
                        .dilation_w = any(1, 3)};
  g.pad_top = any(0, g.k_h);
  g.pad_left = any(0, g.k_w);
  g.out_h = any(1, g.in_h + 2);
  g.out_w = any(1, g.in_w + 2);
  return g;
}

static problem make(int dense) {
  problem p;
  p.g = dense ? dense_geometry() : conv_geometry();
  const hb_conv_geometry *g = &p.g;
  const size_t n = (size_t)g->out_c;
  const size_t weights = n * (size_t)(g->k_h * g->k_w * g->in_c);
  p.bits = any(0, 1) ? 1 : any(2, 4);
  const int top = (1 << p.bits) - 1;
  p.codes = need(weights);
  for (size_t i = 0; i < weights; ++i) p.codes[i] = (uint8_t)any(0, top);
  p.alpha = need(n * 4), p.bias = need(n * 4), p.multiplier = need(n * 4);
  p.bias_q = need(n * 4), p.magnitude = need(n * 4);
  for (size_t i = 0; i < n; ++i) {
    p.alpha[i] = fabsf(any_float());
    p.bias[i] = any_float();
    p.multiplier[i] = fabsf(any_float()) * 1e-4f;
    p.bias_q[i] = any(-100000, 100000);
    p.magnitude[i] = any(0, 127 / top);
  }
  p.in_zero = any(-128, 127), p.out_zero = any(-128, 127);
  p.lo = any(-128, 0), p.hi = any(0, 127);
  return p;
}

static void drop(problem *p) {
  free(p->codes), free(p->alpha), free(p->bias), free(p->multiplier);
  free(p->bias_q), free(p->magnitude);
}

// Sum over the window of output (b, oy, ox, o), of signed x - zero; |x| too if `size` is given.
static double window(const problem *p, const void *x, int is_float, int b, int oy, int ox, int o,
                     double *size) {
  const hb_conv_geometry *g = &p->g;
  double sum = 0;
  *size = 0;
  for (int ky = 0; ky < g->k_h; ++ky)
    for (int kx = 0; kx < g->k_w; ++kx) {
      const int y = oy * g->stride_h - g->pad_top + ky * g->dilation_h;
      const int w = ox * g->stride_w - g->pad_left + kx * g->dilation_w;
      if (y < 0 || y >= g->in_h || w < 0 || w >= g->in_w) continue;
      for (int c = 0; c < g->in_c; ++c) {
        const size_t at =
            (((size_t)b * (size_t)g->in_h + (size_t)y) * (size_t)g->in_w + (size_t)w) *
                (size_t)g->in_c +
            (size_t)c;
        const double v = is_float ? ((const float *)x)[at] : ((const int8_t *)x)[at] - p->in_zero;
        const size_t bit =
            (((size_t)o * (size_t)g->k_h + (size_t)ky) * (size_t)g->k_w + (size_t)kx) *
                (size_t)g->in_c +
            (size_t)c;
        const double weighted = (2 * p->codes[bit] - ((1 << p->bits) - 1)) * v;
        sum += weighted;
        *size += fabs(weighted);
      }
    }
  return sum;
}

static int8_t expected_s8(const problem *p, double sum, int o) {
  const int32_t biased = (int32_t)sum * p->magnitude[o] + p->bias_q[o];
  float v = (float)biased * p->multiplier[o];
  v = fmaxf(v, (float)(p->lo - p->out_zero));
  v = fminf(v, (float)(p->hi - p->out_zero));
  return (int8_t)((int)rintf(v) + p->out_zero);
}

static int differs(const problem *p, const void *x, const void *y, int is_float) {
  const hb_conv_geometry *g = &p->g;
  size_t at = 0;
  for (int b = 0; b < g->batch; ++b)
    for (int oy = 0; oy < g->out_h; ++oy)
      for (int ox = 0; ox < g->out_w; ++ox)
        for (int o = 0; o < g->out_c; ++o, ++at) {
          double size;
          const double sum = window(p, x, is_float, b, oy, ox, o, &size);
          if (is_float) {
            const double want = fmin(fmax(sum * p->alpha[o] + p->bias[o], -1), 6);
            if (!(fabs(((const float *)y)[at] - want) <= 2e-6 * (size * p->alpha[o] + 10)))
              return 1;
          } else if (((const int8_t *)y)[at] != expected_s8(p, sum, o)) {
            return 1;
          }
        }
  return 0;
}

static int run(const problem *p, int dense, int is_float, const void *x, void *y, hb_pool *pool) {
  const hb_conv_geometry *g = &p->g;
  const hb_scale scale = {-1, 6, p->bias, p->alpha};
  const hb_requant requant = {p->in_zero, p->out_zero,  p->lo,        p->hi,
                              p->bias_q,  p->magnitude, p->multiplier};
  int status = 1;
  void *work = NULL;
  if (dense) {
    hb_dense *d = hb_dense_create(g->out_c, g->in_c, p->bits, p->codes);
    if (d) {
      work = need(hb_dense_workspace(d));
      status = is_float ? hb_dense_f32(d, g->in_w, &scale, x, y, work, pool)
                        : hb_dense_s8(d, g->in_w, &requant, x, y, work, pool);
    }
    hb_dense_destroy(d);
  } else {
    const hb_conv_filter f = {is_float ? HB_F32 : HB_S8,
                              p->bits,
                              g->out_c,
                              g->k_h,
                              g->k_w,
                              g->in_c,
                              g->dilation_h,
                              g->dilation_w};
    hb_conv *c = hb_conv_create(&f, p->codes);
    const size_t bytes = c ? hb_conv_workspace(c, g, hb_pool_threads(pool)) : 0;
    if (bytes) {
      work = need(bytes);
      status = is_float ? hb_conv_f32(c, g, &scale, x, y, work, pool)
                        : hb_conv_s8(c, g, &requant, x, y, work, pool);
    }
    hb_conv_destroy(c);
  }
  free(work);
  return status;
}

static int check(int dense, int is_float, hb_pool *pool) {
  problem p = make(dense);
  const size_t n = x_count(&p.g), m = y_count(&p.g), size = is_float ? 4 : 1;
  char *x = need(n * size), *y = need(m * size);
  for (size_t i = 0; i < n; ++i) {
    if (is_float)
      ((float *)x)[i] = any_float();
    else
      x[i] = (char)any(-128, 127);
  }
  int bad = run(&p, dense, is_float, x, y, pool);
  if (bad)
    fprintf(stderr, "refused: %s\n", hb_error());
  else
    bad = differs(&p, x, y, is_float);
  if (bad)
    fprintf(stderr,
            "%s %s, %s, %d bits, %d threads: batch %d, %dx%dx%d -> %dx%dx%d, kernel %dx%d, "
            "stride %dx%d, dilation %dx%d, padding %d,%d\n",
            hb_isa(), dense ? "dense" : "convolution", is_float ? "float32" : "int8", p.bits,
            hb_pool_threads(pool), p.g.batch, p.g.in_h, p.g.in_w, p.g.in_c, p.g.out_h, p.g.out_w,
            p.g.out_c, p.g.k_h, p.g.k_w, p.g.stride_h, p.g.stride_w, p.g.dilation_h, p.g.dilation_w,
            p.g.pad_top, p.g.pad_left);
  free(x), free(y);
  drop(&p);
  return bad;
}

int main(int argc, char **argv) {
  const int rounds = argc > 1 ? atoi(argv[1]) : 100;
  state = argc > 2 ? (uint64_t)atoll(argv[2]) : 88172645463325252u;
  hb_pool *three = hb_pool_create(3);
  int sets = 0;
  for (const char *isa; (isa = hb_isa_at(sets)); ++sets) {
    if (hb_select(isa) || strcmp(hb_isa(), isa) != 0) return 2;
    for (int i = 0; i < rounds; ++i)
      for (int kind = 0; kind < 4; ++kind)
        if (check(kind & 1, kind >> 1, i % 2 ? three : NULL)) return 1;
    printf("%s: %d shapes agree with plain loops\n", isa, rounds * 4);
  }
  hb_pool_destroy(three);
  if (sets == 0 || hb_select("no such set") == 0) return 2;
  return 0;
}
