"""How a model is spread over devices: derived from the graph, without torch and without devices."""
