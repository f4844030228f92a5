"""Float Keras model in, binary-weight model out."""
