"""What is told of a spec: trees, costs, plans, lists."""
