import pytest

from tomotutor.benchmark.machine.selection import PURE, gradients, selection
from tomotutor.learn.strategies import STRATEGIES


def test_every_strategy_that_only_selects_is_timed():
    figures = selection(items=300, labeled=40, k=20, width=16)
    for name in PURE:
        assert figures[f"{name}_s"] > 0
    need_networks = {"vaal", "sraal", "ll4al", "entropy_gradnorm", "expected_gradnorm", "egl", "drop_query"}
    for_few_labels = {"max_herding", "uherding", "margin_cluster", "tcm"}  # not for thousands at once
    assert set(STRATEGIES) - set(PURE) == need_networks | for_few_labels


@pytest.mark.slow
def test_core_set_and_badge_choose_2500_of_25000_in_a_minute():
    figures = selection()
    assert figures["core_set_s"] < 60
    assert figures["badge_s"] < 60


@pytest.mark.slow
def test_batched_gradient_norms_beat_a_loop():
    figures = gradients()
    assert figures["largest_relative_difference"] < 0.01
    assert figures["batched_ratio"] >= 2
    assert figures["last_layer_ratio"] >= 20
