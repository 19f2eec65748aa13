"""Query strategies: which of the unlabeled items to ask first. One file each, and one line here."""

from tomotutor.errors import TomoTutorError
from tomotutor.strategies.base import Candidates, Scores, Strategy, rank
from tomotutor.strategies.random import Random
from tomotutor.strategies.teacher_student import TeacherStudent, disagreement, disagreement_of
from tomotutor.strategies.uncertainty import Entropy, LeastConfidence, Margin

STRATEGIES: dict[str, type[Strategy]] = {
    "teacher_student": TeacherStudent,
    "random": Random,
    "entropy": Entropy,
    "margin": Margin,
    "least_confidence": LeastConfidence,
}


def check_per_pixel(name: str) -> None:
    """Raise a TomoTutorError if a strategy has no meaning in segmentation."""
    if not STRATEGIES[name].per_pixel:
        fitting = ", ".join(n for n, strategy in STRATEGIES.items() if strategy.per_pixel)
        raise TomoTutorError(f"strategy {name} ranks items by one class each and cannot rank masks; in segmentation choose {fitting}")


__all__ = ["STRATEGIES", "Candidates", "Scores", "Strategy", "check_per_pixel", "disagreement", "disagreement_of", "rank"]
