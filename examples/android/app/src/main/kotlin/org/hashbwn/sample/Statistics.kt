package org.hashbwn.sample

import kotlin.math.sqrt

/** Milliseconds of the inferences of one file, by round. */
class Times(
    val initMs: Double,
    val warmupMs: List<Double>,
    val rounds: List<List<Double>>
) {
    val all: List<Double> = rounds.flatten()
    val median: Double = percentile(all, 0.5)

    /** The fields of the result file's "latency". */
    fun latency(): Map<String, Any?> = mapOf(
        "init_ms" to initMs,
        "warmup_first_ms" to warmupMs.first(),
        "warmup_avg_ms" to warmupMs.average(),
        "num_warmup_runs" to warmupMs.size,
        "avg_ms" to all.average(),
        "min_ms" to all.sorted().first(),
        "max_ms" to all.sorted().last(),
        "median_ms" to median,
        "std_ms" to deviation(all),
        "p5_ms" to percentile(all, 0.05),
        "p95_ms" to percentile(all, 0.95),
        "num_runs" to all.size,
        "rounds_ms" to rounds.map { percentile(it, 0.5) }
    )
}

/** Linear between the two neighbours, as hashbwn benchmark computes it. */
fun percentile(values: List<Double>, share: Double): Double {
    val ordered = values.sorted()
    val position = (ordered.size - 1) * share
    val low = position.toInt()
    val high = minOf(low + 1, ordered.size - 1)
    return ordered[low] + (position - low) * (ordered[high] - ordered[low])
}

/** Sample standard deviation; 0 of a single value. */
fun deviation(values: List<Double>): Double {
    if (values.size < 2) return 0.0
    val mean = values.average()
    return sqrt(values.map { (it - mean) * (it - mean) }.sum() / (values.size - 1))
}
