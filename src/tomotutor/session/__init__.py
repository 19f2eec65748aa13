"""What a person said of a pool, and what is made of it: labels, rounds, queue. Knows no screen; networks are run by
learn.
"""

from tomotutor.session.session import Session, look_around

__all__ = ["Session", "look_around"]
