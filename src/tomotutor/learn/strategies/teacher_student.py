"""Disagreement of teacher and student, the method of arXiv 2509.15805."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from tomotutor.learn.strategies.base import Candidates, Scores, Strategy
from tomotutor.learn.strategies.uncertainty import entropy
from tomotutor.learn.transfer import MODULE_DISTANCES


def disagreement(teacher_log_probs_NC: np.ndarray, student_log_probs_NC: np.ndarray) -> np.ndarray:
    """KL(p_T ‖ p_S) = Σ p_T (log p_T − log p_S) of each item, in nats (eq. 3)."""
    p = np.exp(teacher_log_probs_NC)
    difference = np.where(p > 0, teacher_log_probs_NC - student_log_probs_NC, 0.0)
    return np.maximum((p * difference).sum(1), 0.0)


def disagreement_of(teacher: Scores, student: Scores) -> np.ndarray:
    """Return the disagreement of each item: `disagreement`, or in segmentation the mean squared difference of the maps
    (eq. 4).
    """
    return student.measure("disagreement", lambda log_probs_NC: disagreement(teacher.log_probs_NC, log_probs_NC))


def jensen_shannon(teacher_log_probs_NC: np.ndarray, student_log_probs_NC: np.ndarray) -> np.ndarray:
    """H((p_T + p_S) / 2) − (H(p_T) + H(p_S)) / 2 of each item, in nats: symmetric, and log 2 at most."""
    p_NC, q_NC = np.exp(teacher_log_probs_NC), np.exp(student_log_probs_NC)
    return np.maximum(entropy((p_NC + q_NC) / 2) - (entropy(p_NC) + entropy(q_NC)) / 2, 0.0)


class TeacherStudent(Strategy):
    """Ask where the student has not understood what the teacher knows.

    The setting `uncertainty` chooses the distance: a divergence of the answers ("kl_ts", "kl_st", "js"), or a distance
    of the hooked activations ("mse", "l1", "at"), for which both networks run over the candidates once more.
    """

    summary = "KL(teacher ‖ student): the paper's method"

    @override
    def score(self, candidates: Candidates) -> np.ndarray:
        kind = self.recipe.query.uncertainty
        if kind in MODULE_DISTANCES:
            net_t, net_s = candidates.backend.net("teacher"), candidates.backend.net("student")

            def distance(x: Tensor) -> Tensor:
                pairs = zip(net_s(x).modules, net_t(x).modules, strict=True)
                return torch.stack([MODULE_DISTANCES[kind](s, t) for s, t in pairs]).sum(0)

            return candidates.run(distance)
        teacher, student = candidates.teacher, candidates.student
        if kind == "js":
            return jensen_shannon(teacher.log_probs_NC, student.log_probs_NC)
        return disagreement_of(student, teacher) if kind == "kl_st" else disagreement_of(teacher, student)
