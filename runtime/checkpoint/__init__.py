"""Checkpoint files: reading tensors from them and writing them."""
