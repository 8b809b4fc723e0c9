"""A small release of CLEVRER, and what makes tests calm and quick: no deadline for properties, a report that is not drawn."""

from pathlib import Path

import pytest
from hypothesis import settings
from release_factory import NEW, PREVENTED, STAYS, entry, write_release

settings.register_profile("no deadline", deadline=None)  # a busy machine is not a slow parser
settings.load_profile("no deadline")


@pytest.fixture
def plain_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing the report takes a second."""
    monkeypatch.setattr("videothinker.reports.curation.curation_pages", lambda *_, **__: {"report.html": b"page"})


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """30 scenes, 90 questions."""
    return write_release(tmp_path / "release", [entry(index, STAYS, PREVENTED, NEW) for index in range(30)])
