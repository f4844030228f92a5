"""The whole way from a float network to small files, on a small data set."""
