"""Shows docs/notebooks-example.ipynb on the site: a page of its cells with the outputs that lie in the file; none is executed.

Pages link to the notebook, which GitHub shows as it is; on the site these links lead to the page.
"""

import base64
import json
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

NOTEBOOK = Path(__file__).resolve().parents[1] / "notebooks-example.ipynb"
_PAGE = "docs/notebooks-example.md"


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the page and its pictures."""
    text, pictures = as_markdown(json.loads(NOTEBOOK.read_text(encoding="utf-8")))
    files.append(File.generated(config, _PAGE, content=text))
    for name, content in pictures.items():
        files.append(File.generated(config, f"docs/{name}", content=content))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links to the notebook lead to its page."""
    return markdown.replace("notebooks-example.ipynb)", "notebooks-example.md)")


def as_markdown(notebook: Any) -> tuple[str, dict[str, bytes]]:
    """The text of a notebook's page, and its pictures by their names in it."""
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else _fenced(source, "python"))
        for output in cell.get("outputs", ()):
            data = {kind: "".join(lines) for kind, lines in output.get("data", {}).items()}
            if "image/png" in data:
                name = f"notebooks-example-{len(pictures) + 1}.png"
                pictures[name] = base64.b64decode(data["image/png"])
                parts.append(f"![what the cell above draws]({name})")
            elif "text/html" in data:
                parts.append(_bare(data["text/html"]))
            else:
                parts.append(_fenced("".join(output.get("text", "")) or data["text/plain"], "text"))
    return "\n\n".join(parts) + "\n", pictures


def _fenced(text: str, language: str) -> str:
    return f"```{language}\n{text.strip()}\n```"


def _bare(html: str) -> str:
    """A table of pandas in the site's own style, which it gives to tables without a class."""
    table = re.sub(r"<style scoped>.*?</style>\s*", "", html, flags=re.DOTALL)
    return re.sub(r'<table border="1" class="dataframe">', "<table>", table).strip()
