"""Volumes and stacks, one file a format, opened by ending. No particle lists."""
