"""Input of any kind to a Pool of normalised items. No file format is parsed here, and nothing is learned."""
