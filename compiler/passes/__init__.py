"""The phases from a parsed spec to a program, and their helpers."""
