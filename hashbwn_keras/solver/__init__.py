"""The optimisation problem of a layer, and how it is solved; knows neither Keras nor files."""
