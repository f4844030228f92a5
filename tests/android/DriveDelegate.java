import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.hashbwn.HashBwnDelegate;

/** What an app does with the delegate, right and wrong; prints a line for each. */
public class DriveDelegate {
  private static void refused(String what, Callable<?> call) throws Exception {
    try {
      System.out.println(what + ": " + call.call());
    } catch (IllegalStateException | IllegalArgumentException error) {
      String kind = error.getClass().getSimpleName();
      System.out.println(what + ": " + kind + ": " + error.getMessage());
    }
  }

  private static HashBwnDelegate with(int threads) {
    HashBwnDelegate.Options options = new HashBwnDelegate.Options().setNumThreads(threads);
    return new HashBwnDelegate(options.setVerbose(true));
  }

  private static String threads() throws Exception {
    ExecutorService two = Executors.newFixedThreadPool(2);
    HashBwnDelegate shared = new HashBwnDelegate();
    Callable<Integer> work =
        () -> {
          int good = 0;
          for (int i = 0; i < 1000; ++i) {
            try (HashBwnDelegate own = with(1 + i % 4)) {
              good += own.getNativeHandle() != 0 && own.nodesTaken() == 0 ? 1 : 0;
            }
          }
          shared.close();
          return good;
        };
    Future<Integer> first = two.submit(work), second = two.submit(work);
    int good = first.get() + second.get();
    two.shutdown();
    return good + " delegates";
  }

  public static void main(String[] arguments) throws Exception {
    refused("made", () -> new HashBwnDelegate().getNativeHandle() != 0);
    if (arguments.length > 0) return; // the library is not a good one
    HashBwnDelegate one = with(2), other = with(0);
    refused("two", () -> one.getNativeHandle() != other.getNativeHandle());
    refused("taken", one::nodesTaken);
    one.close();
    one.close();
    refused("closed", one::getNativeHandle);
    refused("taken after close", one::nodesTaken);
    refused("other", () -> other.getNativeHandle() != 0);
    other.close();
    refused("65 threads", () -> with(65));
    refused("-1 threads", () -> with(-1));
    refused("from two threads", DriveDelegate::threads);
  }
}
