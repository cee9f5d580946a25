"""The PyTorch text each op becomes. Strings only: nothing here imports torch."""
