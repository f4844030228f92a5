package org.hashbwn.sample

/** A file of the app and what it is: float on the runtime's kernels, or packed on ours. */
class Case(val file: String, val bytes: Int, val sha256: String, val delegated: Boolean)

/** What one case gave. */
class Measured(val case: Case, val times: Times, val nodes: Int?)

/** The device and the moment, under the names of the result file. */
class Surroundings(
    val device: Map<String, Any?>,
    val state: Map<String, Any?>,
    val runtimeVersion: String,
    val time: String
)

const val THREADS = 1

/** The result file of hashbwn benchmark, which hashbwn report reads. */
fun resultFile(measured: List<Measured>, around: Surroundings): String = json(
    mapOf("schema" to 1, "results" to measured.map { result(it, around) })
) + "\n"

private fun result(found: Measured, around: Surroundings): Map<String, Any?> = mapOf(
    "schema" to 1,
    "model" to found.case.file,
    "num_threads" to THREADS,
    "latency" to found.times.latency(),
    "model_bytes" to found.case.bytes,
    "model_sha256" to found.case.sha256,
    "model_size_mb" to found.case.bytes / 1048576.0,
    "accelerators" to listOf("CPU"),
    "device" to around.device,
    "runtime" to mapOf(
        "name" to "litert", "version" to around.runtimeVersion, "tool" to "sample app"
    ),
    "delegate" to mapOf(
        "path" to if (found.case.delegated) "libhashbwn.so" else "",
        "nodes" to if (found.case.delegated) found.nodes else null
    ),
    "state" to around.state,
    "time" to around.time,
    "notes" to listOf("both files ran in one process of an app")
)

/** The table on the screen. */
fun table(measured: List<Measured>): String {
    val baseline = measured.first().times.median
    return measured.joinToString("\n\n") { found ->
        val times = found.times
        val taken = if (found.case.delegated) "${found.nodes} nodes taken" else "without delegate"
        listOf(
            found.case.file,
            "  $taken, ${found.case.bytes} bytes",
            "  median ${ms(times.median)} ms, ${ms(baseline / times.median)} × the first's speed",
            "  p5 to p95 ${ms(percentile(times.all, 0.05))} to ${ms(percentile(times.all, 0.95))} ms",
            "  rounds ${times.rounds.joinToString(" ") { ms(percentile(it, 0.5)) }}"
        ).joinToString("\n")
    }
}

private fun ms(value: Double) = String.format(java.util.Locale.ROOT, "%.3f", value)

/** JSON of maps, lists, strings, numbers, booleans and null; Android's own is not on a desktop. */
fun json(value: Any?): String = when (value) {
    null -> "null"
    is Map<*, *> -> value.entries.joinToString(", ", "{", "}") { (k, v) -> "${json(k)}: ${json(v)}" }
    is List<*> -> value.joinToString(", ", "[", "]") { json(it) }
    is String -> value.map { escaped(it) }.joinToString("", "\"", "\"")
    else -> "$value"
}

private fun escaped(letter: Char): String = when {
    letter == '"' || letter == '\\' -> "\\$letter"
    letter < ' ' -> String.format("\\u%04x", letter - '\u0000')
    else -> "$letter"
}
