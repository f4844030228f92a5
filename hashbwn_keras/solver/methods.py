"""Names of the solver's methods; imports nothing, so that the command line can offer them."""

METHODS = ("auto", "sign", "dcc", "one_opt", "tabu", "exact")
