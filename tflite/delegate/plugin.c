// Making and giving back the delegate, as TensorFlow Lite's loaders of external delegates do it.
#include "plugin.h"

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

tfl_delegate *tflite_plugin_create_delegate(const char *const *keys, const char *const *values,
                                            size_t count, void (*report_error)(const char *)) {
  hb_plugin *p = calloc(1, sizeof *p);
  char why[160] = "hashbwn: no memory for a delegate";
  bool ok = p;
  for (size_t i = 0; ok && i < count; ++i) ok = read_option(p, keys[i], values[i], why);
  if (!ok) {
    if (report_error) report_error(why);
    free(p);
    return NULL;
  }
  atomic_init(&p->users, 1);
  p->face.data = p;
  p->face.prepare = hb_delegate_prepare;
  p->face.flags = TFL_DELEGATE_ALLOWS_DYNAMIC_TENSORS;
  return &p->face;
}

void hb_plugin_retain(hb_plugin *plugin) { atomic_fetch_add(&plugin->users, 1); }

void hb_plugin_release(hb_plugin *plugin) {
  if (atomic_fetch_sub(&plugin->users, 1) == 1) free(plugin);
}

// A graph may outlive the owner of its delegate: its layers go on, and keep the plugin alive.
void tflite_plugin_destroy_delegate(tfl_delegate *d) {
  if (!d) return;
  hb_plugin *p = d->data;
  atomic_store(&p->closed, true);
  hb_plugin_release(p);
}

int hashbwn_delegate_taken(const tfl_delegate *d) {
  return atomic_load(&((hb_plugin *)d->data)->taken);
}
