"""The screen: a napari plugin over Session. Only this package imports Qt and napari."""
