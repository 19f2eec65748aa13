"""Dialogs: export, classes, an average."""
