"""What the solver can be asked for; imports nothing, so that the command line can offer it."""

METHODS = ("auto", "sign", "dcc", "one_opt", "tabu", "exact")
BITS = (1, 2, 3, 4)
"""Bits a weight."""
