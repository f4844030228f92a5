package org.hashbwn.sample

import java.io.Closeable
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.Random
import org.hashbwn.HashBwnDelegate
import org.tensorflow.lite.DataType
import org.tensorflow.lite.Interpreter
import org.tensorflow.lite.Tensor

const val ROUNDS = 10
const val RUNS_A_ROUND = 20
const val WARMUP = 5

/** A file in an interpreter of its own, fed with the same random values each time. */
class Loaded(content: ByteBuffer, delegated: Boolean) : Closeable {
    private val start = System.nanoTime()
    private val delegate: HashBwnDelegate? = if (delegated) HashBwnDelegate() else null
    private val interpreter: Interpreter = interpreter(content)
    val initMs: Double = (System.nanoTime() - start) / 1e6
    val nodes: Int? = delegate?.nodesTaken()
    private val inputs: Array<Any> =
        Array(interpreter.inputTensorCount) { random(interpreter.getInputTensor(it)) }
    private val outputs: Map<Int, Any> =
        (0 until interpreter.outputTensorCount).associateWith<Int, Any> {
            ByteBuffer.allocateDirect(interpreter.getOutputTensor(it).numBytes())
        }

    /** If the file is refused, nobody else could close the delegate. */
    private fun interpreter(content: ByteBuffer): Interpreter {
        val options = Interpreter.Options().setNumThreads(THREADS)
        if (delegate != null) options.addDelegate(delegate)
        try {
            return Interpreter(content, options)
        } catch (refused: RuntimeException) {
            delegate?.close()
            throw refused
        }
    }

    /** Milliseconds of one inference, copying inputs and outputs not counted. */
    fun run(): Double {
        (inputs.toList() + outputs.values).forEach { (it as ByteBuffer).rewind() }
        interpreter.runForMultipleInputsOutputs(inputs, outputs)
        return interpreter.lastNativeInferenceDurationNanoseconds / 1e6
    }

    /** The interpreter first: it uses the delegate. */
    override fun close() {
        interpreter.close()
        delegate?.close()
    }
}

/** Values of about the size of normalised pixels, or any bytes. */
private fun random(tensor: Tensor): ByteBuffer {
    val source = Random(0)
    val buffer = ByteBuffer.allocateDirect(tensor.numBytes()).order(ByteOrder.nativeOrder())
    while (buffer.hasRemaining()) {
        if (tensor.dataType() == DataType.FLOAT32) buffer.putFloat(source.nextGaussian().toFloat())
        else buffer.put(source.nextInt(256).toByte())
    }
    return buffer
}

/** Times of files that take turns, so that a falling clock hits all alike. */
fun measure(files: List<Loaded>): List<Times> {
    val warmup = files.map { file -> List(WARMUP) { file.run() } }
    val rounds = files.map { mutableListOf<List<Double>>() }
    for (round in 0 until ROUNDS) {
        for (turn in files.indices) {
            val which = (round + turn) % files.size
            files[which].run() // finds cold caches, and is not counted
            rounds[which] += List(RUNS_A_ROUND) { files[which].run() }
        }
    }
    return files.indices.map { Times(files[it].initMs, warmup[it], rounds[it]) }
}
