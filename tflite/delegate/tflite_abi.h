// The part of TensorFlow Lite's C plug-in interface a delegate needs, as own declarations: no
// wheel and no distribution ships the headers. The layout has been the same since TensorFlow 2.5;
// filter.c compares the sizes of tensors with their shapes before it believes any of it.
#ifndef HB_TFLITE_ABI_H
#define HB_TFLITE_ABI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TFL_OK = 0, TFL_ERROR = 1 };
enum { TFL_FLOAT32 = 1, TFL_INT32 = 2, TFL_INT8 = 9 };
enum { TFL_ALLOCATED_IN_FILE = 1 };
enum { TFL_QUANTIZATION_AFFINE = 1 };
enum { TFL_PADDING_SAME = 1, TFL_PADDING_VALID = 2 };
enum { TFL_ACT_NONE = 0, TFL_ACT_RELU = 1, TFL_ACT_RELU_N1_TO_1 = 2, TFL_ACT_RELU6 = 3 };
enum {
  TFL_OP_CONV_2D = 3,
  TFL_OP_DEPTHWISE_CONV_2D = 4,
  TFL_OP_DEQUANTIZE = 6,
  TFL_OP_FULLY_CONNECTED = 9,
  TFL_OP_MUL = 18,
  TFL_OP_RESHAPE = 22,
  TFL_OP_GATHER = 36,
  TFL_OP_STRIDED_SLICE = 45,
  TFL_OP_TILE = 69,
  TFL_OP_DELEGATE = 51,
};
enum { TFL_DELEGATE_ALLOWS_DYNAMIC_TENSORS = 1 };

typedef struct {
  int size;
  int data[];
} tfl_ints;

typedef struct {
  int size;
  float data[];
} tfl_floats;

typedef struct {
  tfl_floats *scale;
  tfl_ints *zero_point;
  int32_t quantized_dimension;
} tfl_affine;

struct TfLiteDelegate;

typedef struct {
  int type;
  void *data;
  tfl_ints *dims;
  struct {
    float scale;
    int32_t zero_point;
  } params;
  int allocation_type;
  size_t bytes;
  const void *allocation;
  const char *name;
  struct TfLiteDelegate *delegate;
  int buffer_handle;
  bool data_is_stale;
  bool is_variable;
  struct {
    int type;
    void *params;
  } quantization;
  void *sparsity;
  const tfl_ints *dims_signature;
} tfl_tensor;

typedef struct {
  tfl_ints *inputs, *outputs, *intermediates, *temporaries;
  void *user_data;
  void *builtin_data;
  const void *custom_initial_data;
  int custom_initial_data_size;
  struct TfLiteDelegate *delegate;
  bool might_have_side_effect;
} tfl_node;

typedef struct tfl_context tfl_context;

typedef struct {
  void *(*init)(tfl_context *, const char *, size_t);
  void (*free)(tfl_context *, void *);
  int (*prepare)(tfl_context *, tfl_node *);
  int (*invoke)(tfl_context *, tfl_node *);
  const char *(*profiling_string)(const tfl_context *, const tfl_node *);
  int32_t builtin_code;
  const char *custom_name;
  int version;
  void *registration_external;
  void *async_kernel;
  uint64_t inplace_operator;
  uint64_t zeros[8];  // passed by value: longer than any runtime's own, zero where they differ
} tfl_registration;

typedef struct {
  struct TfLiteDelegate *delegate;
  tfl_ints *nodes_to_replace, *input_tensors, *output_tensors;
} tfl_delegate_params;

struct tfl_context {
  size_t tensors_size;
  int (*get_execution_plan)(tfl_context *, tfl_ints **);
  tfl_tensor *tensors;
  void *impl;
  int (*resize_tensor)(tfl_context *, tfl_tensor *, tfl_ints *);
  void (*report_error)(tfl_context *, const char *, ...);
  int (*add_tensors)(tfl_context *, int, int *);
  int (*get_node_and_registration)(tfl_context *, int, tfl_node **, tfl_registration **);
  int (*replace_node_subsets)(tfl_context *, tfl_registration, const tfl_ints *,
                              struct TfLiteDelegate *);
  int recommended_num_threads;
  // Every runtime has more members; none is used.
};

typedef struct TfLiteDelegate {  // named as hashbwn_delegate.h does
  void *data;
  int (*prepare)(tfl_context *, struct TfLiteDelegate *);
  int (*copy_from_buffer_handle)(tfl_context *, struct TfLiteDelegate *, int, tfl_tensor *);
  int (*copy_to_buffer_handle)(tfl_context *, struct TfLiteDelegate *, int, tfl_tensor *);
  void (*free_buffer_handle)(tfl_context *, struct TfLiteDelegate *, int *);
  int64_t flags;
  void *opaque_builder;
  uint64_t zeros[4];
} tfl_delegate;

typedef struct {
  int padding, stride_w, stride_h, activation, dilation_w, dilation_h;
} tfl_conv_params;

typedef struct {
  int activation, weights_format;
  uint8_t keep_num_dims, asymmetric_quantize_inputs;  // bool; any byte is read safely
} tfl_fully_connected_params;

typedef struct {
  int activation;
} tfl_mul_params;

typedef struct {
  int axis, batch_dims;
} tfl_gather_params;

typedef struct {
  int begin_mask, end_mask, ellipsis_mask, new_axis_mask, shrink_axis_mask;
} tfl_strided_slice_params;
#endif
