"""File formats of the field: particle lists and MRC volumes."""
