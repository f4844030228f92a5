"""Measuring exported files: on this machine, on Android through adb, anywhere through ssh."""
