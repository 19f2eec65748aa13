"""Sessions played against a truth, in place of a person. Runs and demos; comparisons belong to benchmark."""
