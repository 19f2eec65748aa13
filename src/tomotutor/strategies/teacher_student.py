"""Disagreement of teacher and student, the method of arXiv 2509.15805."""

from __future__ import annotations

import numpy as np

from tomotutor.strategies.base import Candidates, Strategy


def disagreement(teacher_log_probs_NC: np.ndarray, student_log_probs_NC: np.ndarray) -> np.ndarray:
    """KL(p_T ‖ p_S) = Σ p_T (log p_T − log p_S) of each item, in nats (eq. 3)."""
    p = np.exp(teacher_log_probs_NC)
    difference = np.where(p > 0, teacher_log_probs_NC - student_log_probs_NC, 0.0)
    return np.maximum((p * difference).sum(1), 0.0)


class TeacherStudent(Strategy):
    """Ask where the student has not understood what the teacher knows."""

    summary = "KL(teacher ‖ student): the paper's method"

    def score(self, candidates: Candidates) -> np.ndarray:  # noqa: D102
        return disagreement(candidates.teacher.log_probs_NC, candidates.student.log_probs_NC)
