"""Student's t: how many standard errors an interval reaches when the standard error itself is estimated."""

import math
from statistics import NormalDist

_TABLE = (
    *(12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281),
    *(2.2010, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860),
    *(2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423),
)
"""97.5th percentiles for 1 to 30 degrees of freedom."""
_NORMAL = 1.9599639845
"""97.5th percentile of the normal distribution, which is that of infinitely many degrees of freedom."""


def t975(degrees: int) -> float:
    """The 97.5th percentile of Student's t with so many degrees of freedom, 1 or more; right to four decimals.

    A table up to 30; beyond it the expansion in 1 / degrees of Abramowitz and Stegun, 26.7.5.
    """
    return _TABLE[degrees - 1] if degrees <= len(_TABLE) else _expanded(_NORMAL, degrees)


def t_beyond(p: float, degrees: int) -> float:
    """The t that is exceeded to both sides together with probability p, 0 < p < 1, for 19 degrees of freedom or more.

    By the expansion, to three decimals down to p = 0.001 at 19 degrees, and closer with more.
    """
    return _expanded(-NormalDist().inv_cdf(p / 2), degrees)


def tails(t: float, degrees: int) -> float:
    """The probability that Student's t is further from 0 than t, to both sides together.

    It is the regularised incomplete beta function I_x(degrees / 2, 1 / 2) at x = degrees / (degrees + t^2): Abramowitz and
    Stegun, 26.7.1, 26.5.2 and, for the continued fraction, 26.5.8.
    """
    x, a, b = degrees / (degrees + t * t), degrees / 2, 0.5
    front: float = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)) * x**a * (1 - x) ** b
    if x < (a + 1) / (a + b + 2):  # where the fraction converges quickly
        return front * _fraction(x, a, b) / a
    return 1 - front * _fraction(1 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    """The continued fraction of the incomplete beta function, evaluated from its end; 200 terms are many more than needed."""
    value = 1.0
    for m in range(200, 0, -1):
        value = 1 + _term(2 * m, x, a, b) / value
        value = 1 + _term(2 * m - 1, x, a, b) / value
    return 1 / value


def _term(n: int, x: float, a: float, b: float) -> float:
    m = n // 2
    if n % 2:
        return -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
    return m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))


def _expanded(z: float, degrees: int) -> float:
    """The percentile of Student's t where that of the normal distribution is z."""
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / degrees + second / degrees**2 + third / degrees**3
