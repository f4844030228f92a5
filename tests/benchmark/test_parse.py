"""Recorded output of the tools and devices, with what bites in it."""

import pytest

from hashbwn_keras.benchmark import parse
from hashbwn_keras.benchmark.machines import readings
from hashbwn_keras.benchmark.parse import Extras
from hashbwn_keras.errors import HashBWNError

# TensorFlow 2.18's linux binary; adb's terminal added the carriage returns.
MODERN = """\
INFO: STARTING!
INFO: Log parameter values verbosely: [0]
INFO: Graph: [/data/local/tmp/net.tflite]
INFO: External delegate path: [/data/local/tmp/libhashbwn.so]
INFO: EXTERNAL delegate created.
INFO: Replacing 31 out of 31 node(s) with delegate (Vx Delegate) node, yielding 1 partitions.
INFO: Replacing 2 out of 9 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 2.
INFO: Explicitly applied EXTERNAL delegate, and the model graph will be completely executed.
INFO: The input model file size (MB): 3.06409
INFO: Initialized session in 92.318ms.
INFO: Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if \
exceeding 150 seconds.
INFO: count=3 first=235158 curr=200386 min=199462 max=235158 avg=211669 std=16613 p5=199462 \
median=200386 p95=235158

INFO: Running benchmark for at least 25 iterations and at least 0 seconds but terminate if \
exceeding 150 seconds.
INFO: count=25 first=187533 curr=140990 min=140071 max=195121 avg=145528 std=13583 p5=140545 \
median=141253 p95=187533

INFO: Inference timings in us: Init: 92318, First inference: 235158, Warmup (avg): 211669, \
Inference (avg): 145528
INFO: Note: as the benchmark tool itself affects memory footprint, the following is only \
APPROXIMATE to the actual memory footprint of the model at runtime. Take the information at your \
discretion.
INFO: Memory footprint delta from the start of the tool (MB): init=54.2852 overall=73.4102
INFO: Overall peak memory footprint (MB) via periodic monitoring: 81.5
""".replace("\n", "\r\n")

# lce_benchmark_model 0.4 on a Raspberry Pi 4B (docs of Larq Compute Engine).
LARQ = """\
STARTING!
Duplicate flags: num_threads
Min num runs: [50]
Loaded model quicknet.tflite
The input model file size (MB): 3.34914
Initialized session in 3.501ms.
Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding \
150 seconds.
count=12 first=156677 curr=33205 min=32578 max=156677 avg=43268.1 std=34197

Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding 150 \
seconds.
count=50 first=33228 curr=33130 min=32687 max=33239 avg=33071.8 std=129

Inference timings in us: Init: 3501, First inference: 156677, Warmup (avg): 43268.1, \
Inference (avg): 33071.8
Peak memory footprint (MB): init=0 overall=12.8672
"""

SLOW = """\
Initialized session in 2130.5ms.
count=1 curr=9992420

count=3 first=1239870 curr=1240120 min=1239870 max=1240310 avg=1.2401e+06 std=180

Inference timings in us: Init: 2130500, First inference: 9992420, Warmup (avg): 9.99242e+06, \
Inference (avg): 1.2401e+06
"""

LOG = """\
--------- beginning of main
07-14 13:12:00.000 22001 22001 I tflite  : Graph: [/data/local/tmp/other.tflite]
07-14 13:12:01.000 22001 22001 I tflite  : count=50 first=1 curr=1 min=1 max=1 avg=1 std=0
07-14 13:12:01.000 22001 22001 I tflite  : Inference timings in us: Init: 1, First inference: 1, \
Warmup (avg): 1, Inference (avg): 1
07-14 13:14:52.098 22838 22838 I tflite_BenchmarkModelActivity: Running TensorFlow Lite benchmark
07-14 13:14:52.099 22838 22838 I tflite  : Num threads: [4]
07-14 13:14:52.099 22838 22838 I tflite  : Graph: [/data/local/tmp/best_int8.tflite]
07-14 13:14:52.190 22838 22838 I tflite  : Initialized session in 92.318ms.
07-14 13:14:52.859 22838 22838 I tflite  : count=3 first=235158 curr=200386 min=199462 max=235158 \
avg=211669 std=16613 p5=199462 median=200386 p95=235158
07-14 13:14:53.000  1234  1299 W ActivityManager: Slow operation: 61ms so far
07-14 13:14:56.520 22838 22838 I tflite  : count=25 first=187533 curr=140990 min=140071 max=195121 \
avg=145528 std=13583 p5=140545 median=141253 p95=187533
"""
LOG_END = """\
07-14 13:14:56.521 22838 22838 I tflite  : Inference timings in us: Init: 92318, First inference: \
235158, Warmup (avg): 211669, Inference (avg): 145528
07-14 13:14:56.521 22838 22838 I tflite  : Memory footprint delta from the start of the tool (MB): \
init=54.2852 overall=73.4102
"""


def test_modern_output_with_carriage_returns() -> None:
    latency, extras = parse.parse_benchmark_model(MODERN)
    assert latency.init_ms == pytest.approx(92.318)
    assert latency.warmup_first_ms == pytest.approx(235.158)
    assert latency.num_warmup_runs == 3
    assert (latency.num_runs, latency.avg_ms) == (25, pytest.approx(145.528))
    assert (latency.min_ms, latency.max_ms) == (pytest.approx(140.071), pytest.approx(195.121))
    assert latency.typical_ms == latency.median_ms == pytest.approx(141.253)
    assert (latency.p5_ms, latency.p95_ms) == (pytest.approx(140.545), pytest.approx(187.533))
    assert extras == Extras(81.5, 73.4102, 31)


def test_larq_output_without_percentiles() -> None:
    latency, extras = parse.parse_benchmark_model(LARQ)
    assert (latency.num_runs, latency.num_warmup_runs) == (50, 12)
    assert latency.typical_ms == latency.avg_ms == pytest.approx(33.0718)
    assert latency.median_ms is latency.p95_ms is None
    assert latency.std_ms == pytest.approx(0.129)
    assert extras == Extras(model_mb=12.8672)


def test_times_beyond_a_second_and_a_single_warm_up() -> None:
    latency, _ = parse.parse_benchmark_model(SLOW)
    assert latency.avg_ms == pytest.approx(1240.1)
    assert latency.warmup_avg_ms == pytest.approx(9992.42)
    assert latency.num_warmup_runs == 1
    assert latency.init_ms == pytest.approx(2130.5)


def test_single_timed_run() -> None:
    text = SLOW.replace(
        "count=3 first=1239870 curr=1240120 min=1239870 max=1240310 avg=1.2401e+06 std=180",
        "count=1 curr=1240100",
    )
    latency, _ = parse.parse_benchmark_model(text)
    assert latency.num_runs == 1
    assert latency.min_ms == latency.max_ms == pytest.approx(1240.1)
    assert latency.std_ms == 0


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("", "it printed nothing."),
        (
            "INFO: STARTING!\nERROR: Encountered unresolved custom op: LceBconv2d.\n"
            "Benchmarking failed.\n",
            "Encountered unresolved custom op: LceBconv2d.",
        ),
        (
            "ERROR: Could not open '/data/x.tflite'.\r\nERROR: Failed to initialize.\r\n",
            "Could not open '/data/x.tflite'.",
        ),
        ("sh: ./benchmark_model: Permission denied", "sh: ./benchmark_model: Permission denied."),
        (
            "count=3 first=1 curr=1 min=1 max=1 avg=1 std=0\nSegmentation fault",
            "Segmentation fault.",
        ),
        (
            "/lib/libm.so.6: version `GLIBC_2.29' not found (required by ./lce_benchmark_model)\n",
            "/lib/libm.so.6: version `GLIBC_2.29' not found (required by ./lce_benchmark_model).",
        ),
    ],
)
def test_failed_runs_say_why(output: str, reason: str) -> None:
    with pytest.raises(HashBWNError) as caught:
        parse.parse_benchmark_model(output)
    assert str(caught.value) == f"The benchmark program gave no result: {reason}"


def test_log_of_the_app() -> None:
    graph = "/data/local/tmp/best_int8.tflite"
    assert parse.parse_logcat(LOG, graph) is None
    messages = parse.parse_logcat(LOG + LOG_END, graph)
    latency, extras = parse.parse_benchmark_model(messages)
    assert latency.avg_ms == pytest.approx(145.528)
    assert extras == Extras(model_mb=73.4102)
    assert parse.parse_logcat(LOG + LOG_END, "/data/local/tmp/third.tflite") is None


def test_log_of_an_app_that_failed() -> None:
    end = "07-14 13:14:56.521 22838 22838 E tflite  : Failed to load model.\n"
    messages = parse.parse_logcat(
        LOG.replace("count=", "c=") + end, "/data/local/tmp/best_int8.tflite"
    )
    with pytest.raises(HashBWNError, match="Failed to load model"):
        parse.parse_benchmark_model(messages)


@pytest.mark.parametrize(
    ("text", "degrees"),
    [
        ("temp=48.3'C\n", 48.3),
        ("48312\n", 48.312),
        ("52", 52.0),
        (
            "Temperature{mValue=41.2, mType=0, mName=CPU0}\n"
            "Temperature{mValue=43.9, mType=0, mName=CPU1}\n"
            "Temperature{mValue=60.0, mType=3, mName=skin}",
            43.9,
        ),
        ("", None),
        ("VCHI initialization failed", None),
    ],
)
def test_temperatures(text: str, degrees: float | None) -> None:
    assert readings.temperature(text) == degrees


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("throttled=0x0", "no"),
        (
            "throttled=0x50005",
            "under-voltage, throttled, under-voltage since boot, throttled since boot",
        ),
        ("IsStatusOverride: false\nThermal Status: 3\n", "severe"),
        ("", ""),
    ],
)
def test_throttling(text: str, words: str) -> None:
    assert readings.throttled(text) == words


def test_battery() -> None:
    text = "Current Battery Service state:\n  AC powered: false\n  USB powered: true\n  level: 87\n"
    assert readings.battery(text) == (87, True)
    assert readings.battery("") == (None, None)


def test_sections_leave_out_banners_and_keep_several_lines() -> None:
    text = "Welcome to the Pi!\r\n== arch\r\naarch64\r\n== empty\r\n== two\r\na\r\nb\r\n"
    assert readings.sections(text) == {"arch": "aarch64", "empty": "", "two": "a\nb"}


def test_marked_json_among_other_lines() -> None:
    text = 'INFO: Created XNNPACK\r\nROUND {"x": 1}\r\nRESULT {"x": 2}\r\n'
    assert parse.parse_marked_json(text, "RESULT ") == {"x": 2}
    assert parse.parse_marked_json("RESULTS none", "RESULT ") is None
