"""One model, many processes: what torchrun started, and how a model and its state are spread over it."""
