"""Disagreement of teacher and student, the method of arXiv 2509.15805."""

from __future__ import annotations

import numpy as np

from tomotutor.strategies.base import Candidates, Scores, Strategy


def disagreement(teacher_log_probs_NC: np.ndarray, student_log_probs_NC: np.ndarray) -> np.ndarray:
    """KL(p_T ‖ p_S) = Σ p_T (log p_T − log p_S) of each item, in nats (eq. 3)."""
    p = np.exp(teacher_log_probs_NC)
    difference = np.where(p > 0, teacher_log_probs_NC - student_log_probs_NC, 0.0)
    return np.maximum((p * difference).sum(1), 0.0)


def disagreement_of(teacher: Scores, student: Scores) -> np.ndarray:
    """Return the disagreement of each item: `disagreement`, or in segmentation the mean squared difference of the maps (eq. 4)."""
    return student.measure("disagreement", lambda log_probs_NC: disagreement(teacher.log_probs_NC, log_probs_NC))


class TeacherStudent(Strategy):
    """Ask where the student has not understood what the teacher knows."""

    summary = "KL(teacher ‖ student): the paper's method"
    per_pixel = True

    def score(self, candidates: Candidates) -> np.ndarray:  # noqa: D102
        return disagreement_of(candidates.teacher, candidates.student)
