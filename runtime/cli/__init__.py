"""The command line of the runtime: one module per verb, a thin shell around what Python offers."""
