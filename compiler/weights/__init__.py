"""Weight maps: what a checkpoint's tensors are in a module, decided from headers alone."""
