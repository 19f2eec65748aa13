"""Many particles: the grid, its list and pictures, and what comes next in the queue. No napari."""
