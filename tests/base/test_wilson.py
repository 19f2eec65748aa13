"""Wilson's interval against scipy's."""

import pytest
from scipy.stats import binomtest

from tomotutor.base.wilson import wilson


@pytest.mark.parametrize("count, n", [(0, 1), (1, 1), (0, 30), (30, 30), (1, 7), (19, 20), (512, 1000)])
def test_wilsons_interval_is_scipys(count, n):
    peer = binomtest(count, n).proportion_ci(0.95, "wilson")
    assert wilson(count, n) == pytest.approx((peer.low, peer.high), abs=1e-12)
