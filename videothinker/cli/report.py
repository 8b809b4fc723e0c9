"""`vt report`."""


def report() -> None:
    """TBD."""
