"""Running compiled models: weights, generation, training."""
