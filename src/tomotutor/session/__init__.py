"""What a person said of a pool, and what is made of it: labels, rounds, queue. Knows no screen; learn runs networks."""

from tomotutor.session.session import Session

__all__ = ["Session"]
