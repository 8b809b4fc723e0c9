"""Every link of every page leads somewhere, as the pages lie in the repository. That the site's do, test_site.py says."""

import re
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

import pytest
from documents import PAGES, ROOT, anchors_of, links_of


def fault(page: str, link: str) -> str | None:
    """What is wrong with a link; of one that leads elsewhere only the form is looked at."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        good = parts.scheme in ("http", "https") and "." in parts.netloc and not set(link) & set(" <>\"'")
        return None if good else "no address of the web"
    target = ROOT / PurePosixPath(page).parent / unquote(parts.path) if parts.path else ROOT / page
    if not target.exists():
        return "no such file"
    inside = target.resolve().relative_to(ROOT).as_posix()
    if parts.fragment and parts.fragment not in anchors_of(inside):
        return f"{inside} has no heading #{parts.fragment}"
    return None


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    faults = {link: fault(page, link) for link in links_of(page)}
    assert {link: why for link, why in faults.items() if why} == {}


def test_a_link_that_leads_nowhere_is_found() -> None:
    assert fault("docs/study.md", "metrics.md#the-verdict") is None
    assert fault("docs/study.md", "metrics.md#no-such-heading") is not None
    assert fault("docs/study.md", "README.md") == "no such file"
    assert fault("docs/study.md", "http://") == "no address of the web"


def test_what_is_committed_names_no_folder_of_the_machine_that_made_it() -> None:
    """A report keeps the command that drew it: give folders by relative paths."""
    folder = re.compile(r"(?:^|[\s\"'=(>])/(?:tmp|home|root|Users|work)/\w", re.MULTILINE)
    files = [file for place in ("reports", "docs", "configs") for file in (ROOT / place).rglob("*")]
    texts = [file for file in files if file.suffix in {".md", ".html", ".json", ".csv", ".tex", ".svg", ".toml"}]
    assert texts
    assert [file.relative_to(ROOT).as_posix() for file in texts if folder.search(file.read_text())] == []
