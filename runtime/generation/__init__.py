"""Generation: tokens from a compiled model, one after the other."""
