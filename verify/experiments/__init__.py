"""One module per group of claims; each defines EXPERIMENTS."""
