"""What the Spark jobs share: the session, Delta tables, the split by rules."""
