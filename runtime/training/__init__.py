"""Training from recipes: what a recipe says, its data, the loop, and checkpoints that resume exactly."""
