"""Many particles: what comes next in the queue. No napari."""
