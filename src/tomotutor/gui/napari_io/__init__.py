"""napari's own File menu: readers, writers and samples."""
