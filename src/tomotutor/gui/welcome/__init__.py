"""Without a session: recent sessions, and the page that makes a new one. No napari layers."""
