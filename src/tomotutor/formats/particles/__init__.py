"""Particle lists, one file a format, all of them one ParticleTable. No voxels."""

LIST_NAMES = ("relion", "relion4", "dynamo", "em", "imod", "csv", "copick")  # of `lists.LISTS`, which imports NumPy
