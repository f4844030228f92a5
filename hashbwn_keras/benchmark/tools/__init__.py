"""What measures: our own runner, and the stock benchmark programs of TFLite and LiteRT."""
