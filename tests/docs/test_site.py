"""The site is built without a warning, has no dead link, fetches nothing from anywhere, and shows what GitHub shows."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from documents import PAGES, ROOT, Links, tokens_of
from quiet_page import needs_chromium, quiet_page


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; a warning, such as a page that is missing in the navigation, would have ended the build."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={"NO_MKDOCS_2_WARNING": "1", "PATH": ""})
    assert built.returncode == 0, built.stderr
    return folder


def pages_of(site: Path) -> Iterator[tuple[Path, Links]]:
    for path in sorted(site.rglob("*.html")):
        yield path, Links(path.read_text())


def test_every_page_of_docs_is_on_the_site(site: Path) -> None:
    assert {path.stem for path in (ROOT / "docs").glob("*.md")} <= {path.stem for path in (site / "docs").glob("*.html")}


def test_every_command_has_a_page(site: Path) -> None:
    from typer.main import get_group

    from videothinker.cli import app

    pages = {path.stem: path.read_text() for path in (site / "reference/commands").glob("*.html")}
    assert set(pages) == set(get_group(app).commands)
    assert "<code>--max-minutes M</code>" in pages["study"]
    assert "vt study configs/study-2.toml --out runs/study-2 --claims a,b" in pages["study"]


def test_every_link_leads_somewhere(site: Path) -> None:
    pages = dict(pages_of(site))
    dead = []
    for path, page in pages.items():
        for link in [*page.links, *page.fetched]:
            parts = urlsplit(link)
            if parts.scheme or link.startswith("data:"):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            anchors = pages[target].anchors if target in pages else set()
            # A page of a report makes its anchors by script.
            made_later = target.name.endswith("-as-drawn.html")
            if not target.is_file() or (parts.fragment and parts.fragment not in anchors and not made_later):
                dead.append((path.relative_to(site).as_posix(), link))
    assert dead == []
    assert len(pages) > 30


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    elsewhere = [
        (path.relative_to(site).as_posix(), link)
        for path, page in pages_of(site)
        for link in page.fetched
        if urlsplit(link).scheme not in ("", "data")
    ]
    styles = [path.name for path in site.rglob("*.css") if re.search(r"url\(\s*['\"]?(https?:)?//", path.read_text())]
    assert (elsewhere, styles) == ([], [])


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith("docs/") or page == "README.md"])
def test_a_page_shows_what_github_shows(site: Path, page: str) -> None:
    """The site's Markdown is another dialect: a list without a blank line before it, say, would be a paragraph there."""
    path = site / ("index.html" if page == "README.md" else page.replace(".md", ".html"))
    article = re.search(r"<article.*?>(.*)</article>", path.read_text(), re.DOTALL)
    assert article is not None
    tokens = [token.type for token in tokens_of((ROOT / page).read_text())]
    expected = {
        "li": tokens.count("list_item_open"),
        "tr": tokens.count("tr_open"),
        "pre": tokens.count("fence") + tokens.count("code_block"),
        "h2": sum(token.type == "heading_open" and token.tag == "h2" for token in tokens_of((ROOT / page).read_text())),
        "strong": tokens.count("strong_open"),
    }
    assert {tag: len(re.findall(rf"<{tag}[ >]", article[1])) for tag in expected} == expected
    assert "arithmatex" not in article[1], "a formula was left as it is written"


@needs_chromium
@pytest.mark.browser
@pytest.mark.parametrize(
    ("page", "width"),
    [("index", 390), ("docs/questions", 390), ("reference/commands/diagnose", 390), ("docs/metrics", 1440)],
)
def test_a_page_fits_its_window_and_fetches_nothing(site: Path, page: str, width: int) -> None:
    with quiet_page(site / f"{page}.html", width):
        pass


@needs_chromium
@pytest.mark.browser
def test_the_search_needs_no_server(site: Path) -> None:
    with quiet_page(site / "docs/study.html", 1440) as page:
        page.click(".md-search__input")
        page.keyboard.type("Wilson interval")
        page.wait_for_selector(".md-search-result__item")
        assert "What the numbers mean" in page.inner_text(".md-search-result__list")
