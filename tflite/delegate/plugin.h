// What the runtime holds as our delegate: its options, and how long it has to live.
#ifndef HB_PLUGIN_H
#define HB_PLUGIN_H

#include <stdatomic.h>

#include "tflite_abi.h"

typedef struct {
  tfl_delegate face;   // first: the runtime knows nothing else
  atomic_int users;    // its owner and every graph whose layers run here
  atomic_bool closed;  // its owner is gone
  atomic_int taken;    // layers of the graph it was applied to last
  int threads;         // 0: as the interpreter was asked for
  bool verbose, force;
} hb_plugin;

void hb_plugin_retain(hb_plugin *plugin);
void hb_plugin_release(hb_plugin *plugin);

// In delegate.c: claims the layers of a graph.
int hb_delegate_prepare(tfl_context *c, tfl_delegate *d);

// One line for people: on stderr, on Android in the log.
void hb_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
#endif
