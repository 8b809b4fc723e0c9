"""The README's picture: the demo's checkpoints beside the study's, light and dark.

    make demo && .venv/bin/python docs/img/screenshot.py demo/report.html

Writes report.png and report-dark.png beside this file, with one and a half pixels per CSS pixel. Needs Debian's chromium.
"""

import argparse
import io
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path, help="the report that `vt demo` wrote")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder of the two pictures")
    options = parser.parse_args()
    page_url = options.page.resolve().as_uri()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        for scheme, name in (("light", "report.png"), ("dark", "report-dark.png")):
            context = browser.new_context(
                viewport={"width": 1160, "height": 1400}, color_scheme=scheme, device_scale_factor=1.5, reduced_motion="reduce"
            )
            page = context.new_page()
            page.goto(page_url)
            picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
            few = picture.quantize(128, dither=Image.Dither.NONE)  # a third of the size, and no eye sees it
            few.save(options.out / name, optimize=True)
        browser.close()


if __name__ == "__main__":
    main()
