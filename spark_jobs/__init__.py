"""Spark jobs: pure transforms of frames, and the `run` that commits them."""
