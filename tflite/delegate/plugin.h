// What the runtime holds as our delegate.
#ifndef HB_PLUGIN_H
#define HB_PLUGIN_H

#include <stdatomic.h>

#include "tflite_abi.h"

typedef struct hb_plugin {
  tfl_delegate face;       // first: the runtime knows nothing else
  struct hb_plugin *next;  // of those that were given back
  atomic_bool closed;      // its owner is gone
  atomic_int taken;        // layers of the graph it was applied to last
  int threads;             // 0: as the interpreter was asked for
  bool verbose, force;
} hb_plugin;

// In delegate.c: claims the layers of a graph.
int hb_delegate_prepare(tfl_context *c, tfl_delegate *d);

// One line for people: on stderr, on Android in the log.
void hb_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
#endif
