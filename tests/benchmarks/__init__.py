"""Speed and memory of the library against named peers: ``python -m tests.benchmarks``."""
