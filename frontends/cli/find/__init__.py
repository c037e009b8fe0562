"""Finding the first wrong number: per-layer comparison, bisection, reduction, reproducers."""
