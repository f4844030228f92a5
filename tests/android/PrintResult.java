import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.hashbwn.sample.Case;
import org.hashbwn.sample.Measured;
import org.hashbwn.sample.ResultsKt;
import org.hashbwn.sample.Surroundings;
import org.hashbwn.sample.Times;

/** Prints the sample app's result file and, to stderr, its table, for times that are given here. */
public class PrintResult {
  private static Measured measured(String file, boolean delegated, double ms) {
    List<List<Double>> rounds =
        Arrays.asList(Arrays.asList(ms, 2 * ms, 3 * ms), Arrays.asList(ms, ms, 6 * ms));
    Times times = new Times(12.5, Arrays.asList(9 * ms, 3 * ms), rounds);
    return new Measured(new Case(file, 2048, "ab", delegated), times, delegated ? 18 : null);
  }

  public static void main(String[] arguments) {
    Map<String, Object> device = new HashMap<>();
    device.put("on", "android:app");
    device.put("name", "A \"quoted\\\" phone\n");
    device.put("arch", "aarch64");
    device.put("bits", 64);
    device.put("system", "android");
    Map<String, Object> state = new HashMap<>();
    state.put("throttled", Arrays.asList("no", "light"));
    state.put("battery_percent", null);
    state.put("charging", true);
    Surroundings around = new Surroundings(device, state, "1.4.2", "2026-11-27T00:00:00+00:00");
    List<Measured> all =
        Arrays.asList(
            measured("net.float.tflite", false, 2.0), measured("net.packed.tflite", true, 1.0));
    System.out.print(ResultsKt.resultFile(all, around));
    System.err.print(ResultsKt.table(all));
  }
}
