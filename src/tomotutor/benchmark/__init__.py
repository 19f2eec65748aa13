"""Experiments: methods compared on data with a truth, and their statistics. A single run belongs to oracle."""
