// What a C++ project that embeds the library does: one convolution through hashbwn.h, and the
// delegate created the way an interpreter creates it. Exit status 1 if a result is off.
#include <hashbwn.h>
#include <hashbwn_delegate.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

static bool convolution_is_right() {
  const std::vector<uint8_t> codes = {1, 0, 1, 1, 0, 0};  // two 1x1 filters over three channels
  const std::vector<float> alpha = {0.5f, 2.f}, bias = {1.f, 0.f};
  const hb_conv_filter filter{HB_F32, 1, 2, 1, 1, 3, 1, 1};
  const std::unique_ptr<hb_conv, void (*)(hb_conv *)> conv(hb_conv_create(&filter, codes.data()),
                                                           hb_conv_destroy);
  hb_conv_geometry g{};
  g.batch = g.in_h = g.in_w = g.out_h = g.out_w = 1;
  g.in_c = 3, g.out_c = 2;
  g.k_h = g.k_w = g.stride_h = g.stride_w = g.dilation_h = g.dilation_w = 1;
  const hb_scale scale{-100.f, 100.f, bias.data(), alpha.data()};
  const std::vector<float> x = {1.f, 2.f, 4.f};
  std::vector<float> y(2);
  const size_t bytes = conv ? hb_conv_workspace(conv.get(), &g, 1) : 0;
  if (bytes == 0) return false;
  const std::unique_ptr<void, void (*)(void *)> work(std::aligned_alloc(64, (bytes + 63) / 64 * 64),
                                                     std::free);
  return hb_conv_f32(conv.get(), &g, &scale, x.data(), y.data(), work.get(), nullptr) == 0 &&
         y[0] == 0.5f * (1 - 2 + 4) + 1 && y[1] == 2.f * (1 - 2 - 4);
}

static int refusals;

static bool delegate_is_made_or_refused() {
  const char *key = "num_threads", *good = "2", *bad = "many";
  TfLiteDelegate *delegate = tflite_plugin_create_delegate(&key, &good, 1, nullptr);
  if (!delegate || hashbwn_delegate_taken(delegate) != 0) return false;
  tflite_plugin_destroy_delegate(delegate);
  const auto note = [](const char *) { ++refusals; };
  return tflite_plugin_create_delegate(&key, &bad, 1, note) == nullptr && refusals == 1;
}

int main() {
  const bool ok = convolution_is_right() && delegate_is_made_or_refused();
  std::printf("%s kernels: %s\n", hb_isa(), ok ? "right" : "WRONG");
  return ok ? 0 : 1;
}
