"""The ops: ports, attributes, shape and cost rules, and the PyTorch that each becomes."""
