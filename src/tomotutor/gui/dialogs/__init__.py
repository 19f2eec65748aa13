"""Dialogs: export, classes, an average. What stays on screen is a page, and none of these."""
