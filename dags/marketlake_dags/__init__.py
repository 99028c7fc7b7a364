"""The DAGs, one a file; wiring only."""
