"""Great Expectations suites, built from `marketlake.rules`."""
