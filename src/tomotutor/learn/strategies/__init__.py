"""Query strategies, which item to ask first: a file and a line here each. How networks run is round_backend's."""

from tomotutor.learn.strategies.adversarial import SRAAL, VAAL
from tomotutor.learn.strategies.badge import Badge, PairBadge, Residual
from tomotutor.learn.strategies.base import Arrays, Backend, Candidates, Scores, Strategy, ask_order, rank
from tomotutor.learn.strategies.cod import TemporalDiscrepancy
from tomotutor.learn.strategies.core_set import CoreSet
from tomotutor.learn.strategies.drop_query import DropQuery
from tomotutor.learn.strategies.gradient import EntropyGradient, ExpectedGradientLength
from tomotutor.learn.strategies.herding import MaxHerding, UHerding
from tomotutor.learn.strategies.loss_prediction import LossPrediction
from tomotutor.learn.strategies.low_budget import ProbCover, TypiClust
from tomotutor.learn.strategies.margin_cluster import MarginCluster
from tomotutor.learn.strategies.monte_carlo import BALD, MCDropout
from tomotutor.learn.strategies.qbc import QueryByCommittee
from tomotutor.learn.strategies.random import Random
from tomotutor.learn.strategies.tcm import TCM
from tomotutor.learn.strategies.teacher_student import TeacherStudent, disagreement, disagreement_of
from tomotutor.learn.strategies.uncertainty import Entropy, LeastConfidence, Margin

STRATEGIES: dict[str, type[Strategy]] = {
    "teacher_student": TeacherStudent,
    "random": Random,
    "entropy": Entropy,
    "margin": Margin,
    "least_confidence": LeastConfidence,
    "mc_dropout": MCDropout,
    "bald": BALD,
    "qbc": QueryByCommittee,
    "core_set": CoreSet,
    "badge": Badge,
    "vaal": VAAL,
    "sraal": SRAAL,
    "ll4al": LossPrediction,
    "entropy_gradnorm": EntropyGradient,
    "expected_gradnorm": EntropyGradient,  # the same number: see its docstring
    "egl": ExpectedGradientLength,
    "typiclust": TypiClust,
    "prob_cover": ProbCover,
    "cod": TemporalDiscrepancy,
    "pair_badge": PairBadge,
    "residual": Residual,
    "max_herding": MaxHerding,
    "uherding": UHerding,
    "margin_cluster": MarginCluster,
    "drop_query": DropQuery,
    "tcm": TCM,
}


__all__ = [
    "STRATEGIES",
    "Arrays",
    "Backend",
    "Candidates",
    "Scores",
    "Strategy",
    "ask_order",
    "disagreement",
    "disagreement_of",
    "rank",
]
