"""napari's own File menu: readers, writers and samples. Formats themselves belong to tomotutor.formats."""
