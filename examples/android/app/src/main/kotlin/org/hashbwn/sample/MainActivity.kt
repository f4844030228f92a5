package org.hashbwn.sample

import android.app.Activity
import android.content.Intent
import android.os.Bundle
import android.view.WindowManager
import android.widget.ArrayAdapter
import android.widget.Button
import android.widget.Spinner
import android.widget.TextView

/** One screen: choose a network, measure its float and its packed file, share the result. */
class MainActivity : Activity() {
    private lateinit var choice: Spinner
    private lateinit var start: Button
    private lateinit var share: Button
    private lateinit var text: TextView
    private var result: String? = null

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.main)
        window.addFlags(WindowManager.LayoutParams.FLAG_KEEP_SCREEN_ON)
        choice = findViewById(R.id.networks)
        start = findViewById(R.id.measure)
        share = findViewById(R.id.share)
        text = findViewById(R.id.table)
        val names = networks(assets)
        choice.adapter = ArrayAdapter(this, android.R.layout.simple_spinner_dropdown_item, names)
        if (names.isEmpty()) {
            text.setText(R.string.no_files)
            start.isEnabled = false
        }
        start.setOnClickListener { measureInBackground(choice.selectedItem as String) }
        share.setOnClickListener { result?.let { send(it) } }
    }

    private fun measureInBackground(network: String) {
        start.isEnabled = false
        share.isEnabled = false
        text.setText(R.string.running)
        Thread {
            val shown = try {
                measureNetwork(network)
            } catch (refused: RuntimeException) {
                result = null
                refused.message ?: refused.toString()
            }
            runOnUiThread {
                text.text = shown
                start.isEnabled = true
                share.isEnabled = result != null
            }
        }.start()
    }

    /** The table; the result file is kept for sharing. */
    private fun measureNetwork(network: String): String {
        val before = throttled(this)
        val cases = cases(assets, network)
        val loaded = mutableListOf<Loaded>()
        try {
            cases.mapTo(loaded) { (case, content) -> Loaded(content, case.delegated) }
            val times = measure(loaded)
            val measured = cases.indices.map { Measured(cases[it].first, times[it], loaded[it].nodes) }
            result = resultFile(measured, surroundings(this, before))
            return table(measured)
        } finally {
            loaded.forEach { it.close() }
        }
    }

    private fun send(content: String) {
        val intent = Intent(Intent.ACTION_SEND)
            .setType("application/json")
            .putExtra(Intent.EXTRA_SUBJECT, "hashbwn.json")
            .putExtra(Intent.EXTRA_TEXT, content)
        startActivity(Intent.createChooser(intent, getString(R.string.share)))
    }
}
