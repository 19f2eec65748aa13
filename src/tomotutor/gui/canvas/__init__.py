"""What the session draws into napari's canvas, and what it puts away there. No docks, no buttons."""
