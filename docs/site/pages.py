"""Which files of the repository are pages of the site, and the pages that are made from the package itself.

A page lies on the site where it lies in the repository, so that a relative link is right in both. README.md is the start.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from commands import page_of, top_level  # docs/site/commands.py: mkdocs imports beside its hooks
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = "reference/commands"
PYTHON = "reference/python.md"

_PAGES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "data/README.md", "docs/*.md", "reports/*.md", "reports/*/*.md")
_PICTURES = ("docs/img/*", "reports/**/*.png", "reports/**/*.svg")
_LINKED = ("reports/**/*.json", "reports/**/*.jsonl", "reports/*/report.html", "reports/*/tables/*", "LICENSE")
"""Files that pages link to."""
_ASSETS = {"docs/site/site.css": "assets/site.css", "docs/site/iframe-worker.js": "assets/iframe-worker.js"}

_PARTS = {
    "Data frames": ["videothinker.notebooks", "videothinker.notebook_statistics"],
    "What the commands do": [
        "videothinker.recipes.curation",
        "videothinker.recipes.diagnosis",
        "videothinker.recipes.benchmarks",
        "videothinker.recipes.training",
        "videothinker.recipes.probe",
        "videothinker.recipes.audit",
    ],
    "Reading replies": ["videothinker.answers"],
    "Observers and rules": ["videothinker.observers.log"],
    "Metrics": ["videothinker.diagnose.metrics", "videothinker.diagnose.estimates", "videothinker.diagnose.compare"],
    "Losses and rewards": ["videothinker.train.loss", "videothinker.train.rewards"],
    "Records": ["videothinker.records.metrics", "videothinker.records.prediction", "videothinker.records.question"],
}
"""Headings of the Python reference, and the modules under each."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put a page for each first word behind `vt` into the navigation."""
    config.nav = _with_commands(config.nav)
    return config


def _with_commands(nav: Any) -> Any:
    if isinstance(nav, list):
        return [_with_commands(entry) for entry in nav]
    if isinstance(nav, dict):
        return {title: _with_commands(entry) for title, entry in nav.items()}
    return [{f"vt {name}": f"{COMMANDS}/{name}.md"} for name in top_level()] if nav == COMMANDS else nav


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Exchange the files of docs/ for those of the repository that belong on the site; the theme's stay."""
    for file in list(files):
        if file.src_dir == config.docs_dir:
            files.remove(file)
    for path in sorted(_found(_PAGES) | _found(_PICTURES) | _found(_LINKED)):
        files.append(_file(path, config))
    for path, place in _ASSETS.items():
        files.append(File.generated(config, place, content=(ROOT / path).read_text()))
    for name in top_level():
        files.append(File.generated(config, f"{COMMANDS}/{name}.md", content=page_of(name)))
    files.append(File.generated(config, PYTHON, content="".join(_python_page())))
    return files


def _found(patterns: tuple[str, ...]) -> set[str]:
    return {path.relative_to(ROOT).as_posix() for pattern in patterns for path in ROOT.glob(pattern)}


def _file(path: str, config: MkDocsConfig) -> File:
    file = File(path, src_dir=str(ROOT), dest_dir=config.site_dir, use_directory_urls=False)
    if path.endswith("/report.html"):  # report.md beside it becomes a page of this name
        file.dest_uri = path.removesuffix(".html") + "-as-drawn.html"
    return file


def _python_page() -> Iterator[str]:
    yield "# From Python\n\nWhat a command does can be called as well. `import videothinker` loads neither torch nor polars.\n"
    for heading, modules in _PARTS.items():
        yield f"\n## {heading}\n\n"
        for module in modules:
            yield f"::: {module}\n\n"


def on_page_context(context: dict[str, Any], *, page: Page, config: MkDocsConfig, nav: Any) -> dict[str, Any]:
    """Name the start page in the window's title as the others are named."""
    if page.is_homepage:
        page.meta.setdefault("title", "What it is")
    return context


def on_post_build(*, config: MkDocsConfig) -> None:
    """Leave out what nobody reads: what helps to debug the theme, and a page for servers whose links begin at their root."""
    Path(config.site_dir, "404.html").unlink(missing_ok=True)
    for file in Path(config.site_dir, "assets").rglob("*.map"):
        file.unlink()
    shutil.rmtree(Path(config.site_dir, "assets/javascripts/lunr"), ignore_errors=True)  # languages that no page is in
