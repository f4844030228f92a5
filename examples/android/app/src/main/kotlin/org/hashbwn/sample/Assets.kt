package org.hashbwn.sample

import android.content.res.AssetManager
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.security.MessageDigest

private const val FLOAT = ".float.tflite"
private const val PACKED = ".packed.tflite"

/** Names of the networks that are bundled in both forms. */
fun networks(assets: AssetManager): List<String> {
    val files = assets.list("")?.toList() ?: emptyList()
    return files.filter { it.endsWith(FLOAT) }
        .map { it.removeSuffix(FLOAT) }
        .filter { it + PACKED in files }
}

/** The two cases of a network with the content of their files. */
fun cases(assets: AssetManager, network: String): List<Pair<Case, ByteBuffer>> =
    listOf(FLOAT, PACKED).map { form ->
        val content = assets.open(network + form).use { it.readBytes() }
        val buffer = ByteBuffer.allocateDirect(content.size).order(ByteOrder.nativeOrder())
        buffer.put(content)
        buffer.rewind()
        Pair(Case(network + form, content.size, sha256(content), form == PACKED), buffer)
    }

private fun sha256(content: ByteArray): String =
    MessageDigest.getInstance("SHA-256").digest(content).joinToString("") { "%02x".format(it) }
