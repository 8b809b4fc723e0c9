"""A report page in Chromium that has to fit its window, complain of nothing and fetch nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

_CHROMIUM = Path("/usr/bin/chromium")

needs_chromium = pytest.mark.skipif(not _CHROMIUM.exists(), reason="/usr/bin/chromium is absent: apt-get install chromium")


@contextmanager
def quiet_page(file: Path, width: int) -> Iterator[Page]:
    """`file` in a window `width` pixels wide."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(_CHROMIUM), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": width, "height": 800})
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: request.url.startswith(("file:", "data:")) or complaints.append(request.url))
        page.goto(file.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        yield page
        assert complaints == []
        browser.close()
