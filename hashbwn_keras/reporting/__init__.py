"""Comparing a binarised network with its float network: by layer and as a whole."""
