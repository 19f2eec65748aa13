"""Query strategies: which of the unlabeled items to ask first. One file each, and one line here."""

from tomotutor.strategies.base import Candidates, Scores, Strategy, rank
from tomotutor.strategies.random import Random
from tomotutor.strategies.teacher_student import TeacherStudent, disagreement
from tomotutor.strategies.uncertainty import Entropy, LeastConfidence, Margin

STRATEGIES: dict[str, type[Strategy]] = {
    "teacher_student": TeacherStudent,
    "random": Random,
    "entropy": Entropy,
    "margin": Margin,
    "least_confidence": LeastConfidence,
}

__all__ = ["STRATEGIES", "Candidates", "Scores", "Strategy", "disagreement", "rank"]
