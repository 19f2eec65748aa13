"""Particle lists, one file a format, all of them one ParticleTable. No voxels."""

# of `lists.LISTS`, which imports NumPy
LIST_NAMES = ("relion", "relion4", "dynamo", "em", "imod", "csv", "copick")
# only `convert` asks for the pixel size of the tilt series, which a list of RELION 4 needs
EXPORTED = tuple(name for name in LIST_NAMES if name != "relion4")
