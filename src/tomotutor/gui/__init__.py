"""The screen: a napari plugin over Session, and the only package that imports Qt or napari. No networks."""
