"""The bytes of a .tflite file, and where they hold a binary filter."""
