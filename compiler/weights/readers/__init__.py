"""Checkpoint headers, read without torch and without executing anything in a file."""

from compiler.weights.readers.detect import read_header

__all__ = ["read_header"]
