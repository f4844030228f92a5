// The native methods of org.hashbwn.HashBwnDelegate.
#include <stdint.h>
#include <stdio.h>

#include "../kernels/services.h"
#include "hashbwn_delegate.h"

// Of Java's native interface two functions are needed. The JNI specification numbers the entries of
// its table, the same in every Java since 1.2 and in Android, so that no jni.h is.
enum { JNI_FIND_CLASS = 6, JNI_THROW_NEW = 14 };
typedef void (*jni_function)(void);
typedef const jni_function *const *jni_env;
typedef void *(*find_class)(jni_env, const char *name);
typedef int32_t (*throw_new)(jni_env, void *java_class, const char *message);

static void throw_illegal_argument(jni_env env, const char *message) {
  void *found = ((find_class)(*env)[JNI_FIND_CLASS])(env, "java/lang/IllegalArgumentException");
  if (found) ((throw_new)(*env)[JNI_THROW_NEW])(env, found, message);  // else another is pending
}

static void note(const char *why) { hb_fail("%s", why); }

HB_API int64_t Java_org_hashbwn_HashBwnDelegate_create(jni_env env, void *c, int32_t threads,
                                                       uint8_t verbose);
int64_t Java_org_hashbwn_HashBwnDelegate_create(jni_env env, void *c, int32_t threads,
                                                uint8_t verbose) {
  (void)c;
  char number[16];
  snprintf(number, sizeof number, "%d", (int)threads);
  // 0 stands for the interpreter's number, which is what leaving the option out means.
  const char *const keys[] = {"verbose", "num_threads"};
  const char *const values[] = {verbose ? "1" : "0", number};
  void *delegate = tflite_plugin_create_delegate(keys, values, threads == 0 ? 1 : 2, note);
  if (!delegate) throw_illegal_argument(env, hb_error());
  return (int64_t)(intptr_t)delegate;
}

HB_API int32_t Java_org_hashbwn_HashBwnDelegate_taken(jni_env env, void *c, int64_t handle);
int32_t Java_org_hashbwn_HashBwnDelegate_taken(jni_env env, void *c, int64_t handle) {
  (void)env, (void)c;
  return hashbwn_delegate_taken((const struct TfLiteDelegate *)(intptr_t)handle);
}

HB_API void Java_org_hashbwn_HashBwnDelegate_destroy(jni_env env, void *c, int64_t handle);
void Java_org_hashbwn_HashBwnDelegate_destroy(jni_env env, void *c, int64_t handle) {
  (void)env, (void)c;
  tflite_plugin_destroy_delegate((struct TfLiteDelegate *)(intptr_t)handle);
}
