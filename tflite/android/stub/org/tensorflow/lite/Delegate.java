package org.tensorflow.lite;

/**
 * Stands for the interface of the same name in LiteRT 1.4 and TensorFlow Lite 2.16 and 2.17 while
 * HashBwnDelegate is compiled; the library does not ship it. Some versions add a default close()
 * without a checked exception, which HashBwnDelegate overrides.
 */
public interface Delegate {
  long getNativeHandle();
}
