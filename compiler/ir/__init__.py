"""The levels between a spec and its text: graph, typed graph, program."""
