"""The Keras model: its graph, its layers, where they keep kernels, how it is saved."""
