package org.hashbwn;

import org.tensorflow.lite.Delegate;

/**
 * Runs layers with 1-bit weights on their own kernels, inside TensorFlow Lite or LiteRT 1.4.
 *
 * <pre>{@code
 * try (HashBwnDelegate delegate = new HashBwnDelegate();
 *     Interpreter interpreter =
 *         new Interpreter(file, new Interpreter.Options().addDelegate(delegate))) {
 *   interpreter.run(input, output);
 * }
 * }</pre>
 *
 * <p>The interpreter is closed before the delegate, as above. In the other order it goes on
 * running the layers that it has; where it applies delegates again, as when an input is resized, it
 * throws. One delegate serves one interpreter or several, in any threads.
 */
public final class HashBwnDelegate implements Delegate, AutoCloseable {
  /** What a delegate is made with. */
  public static final class Options {
    private int threads;
    private boolean verbose;

    /**
     * Threads of our layers; 0, the default, for as many as the interpreter has. The constructor of
     * the delegate refuses a number that the library does not take.
     */
    public Options setNumThreads(int threads) {
      this.threads = threads;
      return this;
    }

    /** Whether each layer taken or left is named, on stderr or, on Android, in the log. */
    public Options setVerbose(boolean verbose) {
      this.verbose = verbose;
      return this;
    }
  }

  private static boolean loaded;

  private long handle;

  /**
   * A delegate with default options.
   *
   * @throws IllegalStateException if the native library is missing, made for another processor or
   *     of another version than this class
   */
  public HashBwnDelegate() {
    this(new Options());
  }

  /**
   * A delegate with these options.
   *
   * @throws IllegalArgumentException if the library does not take an option
   * @throws IllegalStateException as {@link #HashBwnDelegate()}
   */
  public HashBwnDelegate(Options options) {
    load();
    try {
      handle = create(options.threads, options.verbose);
    } catch (UnsatisfiedLinkError error) {
      throw new IllegalStateException(
          "libhashbwn.so is of another version than HashBwnDelegate ("
              + error.getMessage()
              + "): take both from one hashbwn-android.aar.",
          error);
    }
  }

  /** Loads the library once; where that fails, later calls try again and say the same. */
  private static synchronized void load() {
    if (loaded) {
      return;
    }
    try {
      System.loadLibrary("hashbwn");
    } catch (UnsatisfiedLinkError error) {
      throw new IllegalStateException(
          "libhashbwn.so cannot be loaded on "
              + System.getProperty("os.arch")
              + " ("
              + error.getMessage()
              + "): hashbwn-android.aar has it for arm64-v8a and x86_64.",
          error);
    }
    loaded = true;
  }

  /**
   * The native TfLiteDelegate, for the interpreter.
   *
   * @throws IllegalStateException if the delegate was closed
   */
  @Override
  public synchronized long getNativeHandle() {
    if (handle == 0) {
      throw new IllegalStateException("The HashBwnDelegate was closed: make a new one.");
    }
    return handle;
  }

  /**
   * Layers that run on our kernels in the graph this delegate was applied to last: 0 before the
   * interpreter is made and where no layer has 1-bit weights.
   *
   * @throws IllegalStateException if the delegate was closed
   */
  public synchronized int nodesTaken() {
    return taken(getNativeHandle());
  }

  /** Gives the delegate back; further calls do nothing. */
  @Override
  public synchronized void close() {
    if (handle != 0) {
      destroy(handle);
      handle = 0;
    }
  }

  private static native long create(int threads, boolean verbose);

  private static native int taken(long handle);

  private static native void destroy(long handle);
}
