"""`vt demo`."""


def demo() -> None:
    """TBD."""
