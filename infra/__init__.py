"""Start of all programs: command line, local broker, topics, demo. Only `benchmarks` and the tests import it."""
