package org.hashbwn.sample

import android.content.Context
import android.content.Intent
import android.content.IntentFilter
import android.os.BatteryManager
import android.os.Build
import android.os.PowerManager
import java.text.SimpleDateFormat
import java.util.Date
import java.util.Locale
import java.util.TimeZone

private val LEVELS =
    listOf("no", "light", "moderate", "severe", "critical", "emergency", "shutdown")

/** How hot Android says the phone is, as hashbwn benchmark words it. */
fun throttled(context: Context): String {
    val power = context.getSystemService(Context.POWER_SERVICE) as PowerManager
    return LEVELS[minOf(power.currentThermalStatus, LEVELS.size - 1)]
}

/** Device and moment; `before` is the thermal status before the measurement. */
fun surroundings(context: Context, before: String): Surroundings {
    val battery = context.registerReceiver(null, IntentFilter(Intent.ACTION_BATTERY_CHANGED))
    val utc = SimpleDateFormat("yyyy-MM-dd'T'HH:mm:ss'+00:00'", Locale.ROOT)
    utc.timeZone = TimeZone.getTimeZone("UTC")
    return Surroundings(
        device = mapOf(
            "on" to "android:app",
            "name" to "${Build.MANUFACTURER} ${Build.MODEL}",
            "arch" to System.getProperty("os.arch"),
            "bits" to if (Build.SUPPORTED_64_BIT_ABIS.isEmpty()) 32 else 64,
            "os" to "Android ${Build.VERSION.RELEASE}",
            "cpu" to Build.HARDWARE,
            "cores" to Runtime.getRuntime().availableProcessors(),
            "system" to "android"
        ),
        state = mapOf(
            "throttled" to listOf(before, throttled(context)),
            "battery_percent" to percent(battery),
            "charging" to battery?.let { it.getIntExtra(BatteryManager.EXTRA_PLUGGED, 0) != 0 }
        ),
        runtimeVersion = BuildConfig.LITERT,
        time = utc.format(Date())
    )
}

private fun percent(battery: Intent?): Int? {
    val level = battery?.getIntExtra(BatteryManager.EXTRA_LEVEL, -1) ?: -1
    val scale = battery?.getIntExtra(BatteryManager.EXTRA_SCALE, 0) ?: 0
    return if (level < 0 || scale <= 0) null else 100 * level / scale
}
