"""Source texts and YAML with positions."""
