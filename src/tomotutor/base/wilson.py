"""Wilson's interval of a share."""

from __future__ import annotations

import math

_Z = 1.959963984540054  # of 95 %, two-sided


def wilson(count: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of which `count` of n were seen, n > 0 (Wilson, JASA 22, 1927).

    It is that of scipy's `binomtest`, which takes half a second to import: too long for a screen that waits.
    """
    share, square = count / n, _Z**2
    centre = (share + square / (2 * n)) / (1 + square / n)
    half = _Z * math.sqrt(share * (1 - share) / n + square / (4 * n * n)) / (1 + square / n)
    low = 0.0 if count == 0 else centre - half
    high = 1.0 if count == n else centre + half
    return low, high
