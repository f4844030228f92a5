"""What the sample app uses of Android, of LiteRT and of its generated classes, to compile against.

A class a line: its name and its body. Signatures are those of Android 10 (API 29) and LiteRT 1.4.
"""

from pathlib import Path

CLASSES = {
    "android.R": "public class R { public static class layout { "
    "public static int simple_spinner_dropdown_item; } }",
    "android.app.Activity": "public class Activity extends android.content.Context { "
    "protected void onCreate(android.os.Bundle b) {} public void setContentView(int id) {} "
    "public <T extends android.view.View> T findViewById(int id) { return null; } "
    "public android.view.Window getWindow() { return null; } "
    "public final void runOnUiThread(Runnable r) {} "
    "public void startActivity(android.content.Intent i) {} }",
    "android.content.Context": "public abstract class Context { "
    'public static final String POWER_SERVICE = "power"; '
    "public Object getSystemService(String n) { return null; } "
    "public final String getString(int id) { return null; } "
    "public android.content.res.AssetManager getAssets() { return null; } "
    "public Intent registerReceiver(BroadcastReceiver r, IntentFilter f) { return null; } }",
    "android.content.BroadcastReceiver": "public abstract class BroadcastReceiver {}",
    "android.content.Intent": "public class Intent { "
    'public static final String ACTION_BATTERY_CHANGED = "b", ACTION_SEND = "s", '
    'EXTRA_SUBJECT = "u", EXTRA_TEXT = "t"; public Intent(String action) {} '
    "public Intent setType(String t) { return this; } "
    "public Intent putExtra(String n, String v) { return this; } "
    "public int getIntExtra(String n, int d) { return d; } "
    "public static Intent createChooser(Intent i, CharSequence t) { return i; } }",
    "android.content.IntentFilter": "public class IntentFilter { "
    "public IntentFilter(String action) {} }",
    "android.content.res.AssetManager": "public final class AssetManager { "
    "public String[] list(String p) throws java.io.IOException { return null; } "
    "public java.io.InputStream open(String n) throws java.io.IOException { return null; } }",
    "android.os.BatteryManager": "public class BatteryManager { public static final String "
    'EXTRA_LEVEL = "l", EXTRA_SCALE = "s", EXTRA_PLUGGED = "p"; }',
    "android.os.Build": "public class Build { public static final String MANUFACTURER = null, "
    "MODEL = null, HARDWARE = null; public static final String[] SUPPORTED_64_BIT_ABIS = {}; "
    "public static class VERSION { public static final String RELEASE = null; } }",
    "android.os.Bundle": "public final class Bundle {}",
    "android.os.PowerManager": "public final class PowerManager { "
    "public int getCurrentThermalStatus() { return 0; } }",
    "android.view.View": "public class View { "
    "public interface OnClickListener { void onClick(View v); } "
    "public void setOnClickListener(OnClickListener l) {} public void setEnabled(boolean e) {} "
    "public boolean isEnabled() { return true; } }",
    "android.view.Window": "public abstract class Window { public void addFlags(int f) {} }",
    "android.view.WindowManager": "public interface WindowManager { "
    "public static class LayoutParams { public static final int FLAG_KEEP_SCREEN_ON = 128; } }",
    "android.widget.ArrayAdapter": "public class ArrayAdapter<T> implements SpinnerAdapter { "
    "public ArrayAdapter(android.content.Context c, int id, java.util.List<T> items) {} }",
    "android.widget.Button": "public class Button extends TextView {}",
    "android.widget.Spinner": "public class Spinner extends android.view.View { "
    "public void setAdapter(SpinnerAdapter a) {} "
    "public SpinnerAdapter getAdapter() { return null; } "
    "public Object getSelectedItem() { return null; } }",
    "android.widget.SpinnerAdapter": "public interface SpinnerAdapter {}",
    "android.widget.TextView": "public class TextView extends android.view.View { "
    "public final void setText(CharSequence t) {} public final void setText(int id) {} "
    "public CharSequence getText() { return null; } }",
    "org.hashbwn.sample.BuildConfig": "public final class BuildConfig { "
    "public static final String LITERT = null; }",
    "org.tensorflow.lite.DataType": "public enum DataType { FLOAT32, INT8 }",
    "org.tensorflow.lite.Interpreter": "public final class Interpreter implements AutoCloseable { "
    "public static class Options { public Options() {} "
    "public Options setNumThreads(int n) { return this; } "
    "public Options addDelegate(Delegate d) { return this; } } "
    "public Interpreter(java.nio.ByteBuffer b, Options o) {} "
    "public int getInputTensorCount() { return 0; } "
    "public int getOutputTensorCount() { return 0; } "
    "public Tensor getInputTensor(int i) { return null; } "
    "public Tensor getOutputTensor(int i) { return null; } "
    "public void runForMultipleInputsOutputs(Object[] i, java.util.Map<Integer, Object> o) {} "
    "public Long getLastNativeInferenceDurationNanoseconds() { return null; } "
    "public void close() {} }",
    "org.tensorflow.lite.Tensor": "public interface Tensor { DataType dataType(); "
    "int numBytes(); }",
}


def write(folder: Path) -> list[Path]:
    """Write the classes as source files below ``folder``."""
    paths = []
    for name, body in CLASSES.items():
        package, _, simple = name.rpartition(".")
        path = folder / package.replace(".", "/") / f"{simple}.java"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"package {package};\n{body}\n")
        paths.append(path)
    return paths
