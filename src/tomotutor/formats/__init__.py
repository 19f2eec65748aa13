"""File formats of the field, read and written: particle lists, volumes, masks. No pools, nothing is normalised."""
