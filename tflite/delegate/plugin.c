// Making and giving back the delegate, as TensorFlow Lite's loaders of external delegates do it.
#include "plugin.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../kernels/services.h"
#include "hashbwn_delegate.h"

// HB_LOGCAT is set for Android, where nobody reads stderr. No header, because not every compiler
// for it here has one.
#if defined(HB_LOGCAT)
enum { LOG_INFO = 4 };
extern int __android_log_vprint(int priority, const char *tag, const char *format, va_list args);
#endif

void hb_say(const char *format, ...) {
  va_list args;
  va_start(args, format);
#if defined(HB_LOGCAT)
  __android_log_vprint(LOG_INFO, "hashbwn", format, args);
#else
  char line[256];
  vsnprintf(line, sizeof line, format, args);
  fprintf(stderr, "hashbwn: %s\n", line);
#endif
  va_end(args);
}

// One option; false with a sentence in `why`.
static bool read_option(hb_plugin *p, const char *key, const char *value, char why[160]) {
  char *end;
  const long n = strtol(value, &end, 10);
  const bool number = *value && !*end;
  if (strcmp(key, "num_threads") == 0 && number && n >= 1 && n <= HB_MAX_THREADS) {
    p->threads = (int)n;
  } else if (strcmp(key, "verbose") == 0 && number && (n == 0 || n == 1)) {
    p->verbose = n;
  } else if (strcmp(key, "force") == 0 && number && (n == 0 || n == 1)) {
    p->force = n;
  } else {
    snprintf(why, 160,
             "hashbwn: option %.40s=%.40s is not known; use num_threads=1..%d, verbose=0|1 or "
             "force=0|1",
             key, value, HB_MAX_THREADS);
    return false;
  }
  return true;
}

// Delegates that were given back. Their memory is used again, but never freed: where a graph
// outlives its delegate's owner, some runtimes (TensorFlow Lite 2.14) apply the delegate again when
// an input is resized, and nothing tells when they no longer can.
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static hb_plugin *given_back;

static void give_back(hb_plugin *p) {
  if (atomic_exchange(&p->closed, true)) return;  // twice
  pthread_mutex_lock(&lock);
  p->next = given_back;
  given_back = p;
  pthread_mutex_unlock(&lock);
}

static hb_plugin *take(void) {
  pthread_mutex_lock(&lock);
  hb_plugin *p = given_back;
  if (p) given_back = p->next;
  pthread_mutex_unlock(&lock);
  if (!p) return calloc(1, sizeof *p);
  p->threads = 0;
  p->verbose = p->force = false;
  atomic_store(&p->taken, 0);
  atomic_store(&p->closed, false);
  return p;
}

tfl_delegate *tflite_plugin_create_delegate(const char *const *keys, const char *const *values,
                                            size_t count, void (*report_error)(const char *)) {
  hb_plugin *p = take();
  char why[160] = "hashbwn: no memory for a delegate";
  bool ok = p;
  for (size_t i = 0; ok && i < count; ++i) ok = read_option(p, keys[i], values[i], why);
  if (!ok) {
    if (p) give_back(p);
    if (report_error) report_error(why);
    return NULL;
  }
  p->face.data = p;
  p->face.prepare = hb_delegate_prepare;
  p->face.flags = TFL_DELEGATE_ALLOWS_DYNAMIC_TENSORS;
  return &p->face;
}

void tflite_plugin_destroy_delegate(tfl_delegate *d) {
  if (d) give_back(d->data);
}

int hashbwn_delegate_taken(const tfl_delegate *d) {
  return atomic_load(&((hb_plugin *)d->data)->taken);
}
