"""What the networks have learned: learning curve and map of the pool. No napari."""
