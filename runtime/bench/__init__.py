"""Microbenchmarks of the cycle machine, and its error against published measurements."""
