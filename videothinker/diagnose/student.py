"""Student's t: how many standard errors a 95 % interval reaches when the standard error itself is estimated."""

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
    if degrees <= len(_TABLE):
        return _TABLE[degrees - 1]
    z = _NORMAL
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / degrees + second / degrees**2 + third / degrees**3
