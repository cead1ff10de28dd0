"""A real store, started and watched as tests and benchmarks both need it. Imports nothing of either."""
