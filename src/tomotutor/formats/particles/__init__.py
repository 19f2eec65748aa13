"""Particle lists, one file a format, all of them one ParticleTable. No voxels."""
