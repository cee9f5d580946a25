"""What people write: YAML with places, expressions, types of ports, specs and weight maps."""
