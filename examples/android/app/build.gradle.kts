plugins {
    id("com.android.application")
    id("org.jetbrains.kotlin.android")
}

// The last line of LiteRT whose interpreter takes delegates of others; see README.md.
val litert = "1.4.2"

android {
    namespace = "org.hashbwn.sample"
    compileSdk = 35
    defaultConfig {
        applicationId = "org.hashbwn.sample"
        // What hashbwn-android.aar needs when it was built without an NDK.
        minSdk = 29
        targetSdk = 35
        versionCode = 1
        versionName = "1.0"
        ndk { abiFilters += listOf("arm64-v8a", "x86_64") }
        buildConfigField("String", "LITERT", "\"$litert\"")
    }
    buildFeatures { buildConfig = true }
    // The files are mapped, not unpacked, when they are loaded.
    androidResources { noCompress += "tflite" }
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_1_8
        targetCompatibility = JavaVersion.VERSION_1_8
    }
    kotlinOptions { jvmTarget = "1.8" }
}

dependencies {
    implementation(files("libs/hashbwn-android.aar"))
    implementation("com.google.ai.edge.litert:litert:$litert")
}
