"""`vt diagnose`."""


def diagnose() -> None:
    """TBD."""
