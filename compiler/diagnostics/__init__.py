"""Diagnostics: data, codes, rendering."""
