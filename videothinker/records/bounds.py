"""Numbers with bounds, as fields of records and settings name them; msgspec checks the bounds when it reads a file."""

from typing import Annotated

import msgspec

Positive = Annotated[int, msgspec.Meta(ge=1)]
"""A whole number of at least 1."""
Index = Annotated[int, msgspec.Meta(ge=0)]
"""A whole number of at least 0."""
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
"""A part of a whole, in [0, 1]."""
NotNegative = Annotated[float, msgspec.Meta(ge=0)]
AboveZero = Annotated[float, msgspec.Meta(gt=0)]
