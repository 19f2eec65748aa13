"""What the networks have learned: curve, map of the pool, tables of classes, rounds and doubts. No napari."""
