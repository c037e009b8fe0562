"""Baselines: what a model's compile and check came to, kept in a file and held in CI (`wsec golden`, pytest plugin)."""
