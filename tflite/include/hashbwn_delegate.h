// The TensorFlow Lite delegate in libhashbwn.so: what TensorFlow Lite's own loaders of external
// delegates call, and C++ programs that link the library call themselves:
//
//     std::unique_ptr<TfLiteDelegate, decltype(&tflite_plugin_destroy_delegate)> delegate(
//         tflite_plugin_create_delegate(nullptr, nullptr, 0, nullptr),
//         tflite_plugin_destroy_delegate);
//     interpreter->ModifyGraphWithDelegate(delegate.get());
//     hashbwn_delegate_taken(delegate.get());  // layers that run on our kernels
//
// The interpreter is destroyed before the delegate. In the other order it goes on running the
// layers it has; runtimes that apply delegates again when an input is resized get an error then.
#ifndef HASHBWN_DELEGATE_H
#define HASHBWN_DELEGATE_H

#include "hashbwn.h"

#ifdef __cplusplus
extern "C" {
#endif

struct TfLiteDelegate;

// Options: num_threads=1..64 (without it, as many as the interpreter has), verbose=0|1, force=0|1
// (also the layers that are measured to be slower here). NULL where one is not known; report_error,
// which may be NULL, then gets a sentence.
HB_API struct TfLiteDelegate *tflite_plugin_create_delegate(const char *const *keys,
                                                            const char *const *values, size_t count,
                                                            void (*report_error)(const char *));
HB_API void tflite_plugin_destroy_delegate(struct TfLiteDelegate *delegate);

// Layers taken in the graph that the delegate was applied to last; 0 before it was applied to any.
HB_API int hashbwn_delegate_taken(const struct TfLiteDelegate *delegate);
// The same of the delegate applied last in this thread, whichever it was.
HB_API int hashbwn_claimed(void);
// Packed filters that it unpacked for layers that the runtime runs faster.
HB_API int hashbwn_unpacked(void);

#ifdef __cplusplus
}
#endif
#endif
