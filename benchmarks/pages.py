"""How large is a report with a browser of questions, and how quickly does it open and search?

    python benchmarks/pages.py [--scenes 3000] [--checkpoints 4] [--words 80] [--out FILE.json] [--page FILE.html]
    python benchmarks/pages.py --smoke      # a few questions, to see that it runs

Draws the report of a diagnosis of invented questions, three about each scene, of which every checkpoint has written a reply of
about so many words, with film strips up to the page's budget. Then Debian's chromium opens the file, headless, five times.
Printed are the page's size, and the medians in seconds: until the first question is shown; of the first search, which makes the
texts ready for it, and of a later one; of a filter by two checkpoints' outcomes; of showing another question with all replies;
of sorting the list.
"""

import argparse
import os
import sys
import tempfile
import time
from itertools import accumulate
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import msgspec
import results
from playwright.sync_api import Page, sync_playwright

sys.path.append(str(Path(__file__).parents[1] / "tests"))
import curated_factory
import report_factory

from videothinker.diagnose.runs import Run, comparisons
from videothinker.reports.diagnosis import diagnosis_pages

CHROMIUM = "/usr/bin/chromium"
N_STRIPS = 500
"""Scenes that have a clip: more than the page's budget of strips."""
N_WORDS = 3_000
"""Words that replies are made of, drawn by Zipf's law as in any text: what compresses like prose, about four to one."""


def longer(run: Run, n_words: int) -> Run:
    """The same answers with reasoning of about `n_words` words before them."""
    rng = Random(run.name)
    words = ["".join(rng.choices("eeetaoinshrdlcumwfgypbv", k=rng.randint(2, 9))) for _ in range(N_WORDS)] + ["rubber", "cube"]
    weights = list(accumulate(1 / (rank + 3) for rank in range(len(words))))

    def reasoned(reply: str) -> str:
        said = " ".join(rng.choices(words, cum_weights=weights, k=rng.randint(n_words // 2, 3 * n_words // 2)))
        return reply.replace("I look at the objects, one by one.", said)

    return run._replace(predictions=[msgspec.structs.replace(row, reply=reasoned(row.reply)) for row in run.predictions])


def draw(folder: Path, n_scenes: int, n_checkpoints: int, n_words: int) -> tuple[bytes, int]:
    """The page, and its number of questions."""
    made = report_factory.make(n_scenes, 3)
    videos = [scene.video for scene in made.scenes.values()][:N_STRIPS]
    report_factory.write_clip(folder / "clips" / videos[0])
    for video in videos[1:]:
        os.link(folder / "clips" / videos[0], folder / "clips" / video)
    curated = curated_factory.write_curated(
        folder / "curated", made.questions, videos_root="../clips", scenes=made.scenes.values()
    )
    names = [f"checkpoint-{number}" for number in range(n_checkpoints)]
    asked = [report_factory.make_run(name, made.every, skill=0.5, shortcut=0.5) for name in names]
    runs = [longer(run, n_words) for run in asked]
    return diagnosis_pages(runs, comparisons(runs), curated, out=folder / "runs")["report.html"], len(made.every)


CHANGE = """([name, value]) => {
  const control = document.querySelector(`[name="${name}"]`);
  const before = performance.now();
  control.value = value;
  control.dispatchEvent(new Event("input", { bubbles: true }));
  document.body.offsetHeight;
  return (performance.now() - before) / 1000;
}"""
"""Sets a filter, and gives the seconds until the page is laid out again."""
CLICK = """(selector) => {
  const before = performance.now();
  document.querySelector(selector).click();
  document.body.offsetHeight;
  return (performance.now() - before) / 1000;
}"""


def visit(page: Page, file: Path, runs: int) -> dict[str, float]:
    """Seconds of each thing that a reader does."""
    before = time.perf_counter()
    page.goto(file.as_uri())
    page.wait_for_selector("#detail .question")
    found = {"open": time.perf_counter() - before}
    found["first search"] = page.evaluate(CHANGE, ["search", "cube metal"])
    found["later search"] = page.evaluate(CHANGE, ["search", "rubber sphere"])
    page.evaluate(CHANGE, ["search", ""])
    if runs > 1:
        found["two outcomes"] = page.evaluate(CHANGE, ["run:checkpoint-0", "right"]) + page.evaluate(
            CHANGE, ["run:checkpoint-1", "wrong"]
        )
        found["another question"] = page.evaluate(CLICK, "#list tr:nth-child(2) button")
        found["sort the list"] = page.evaluate(CLICK, "#questions thead th:nth-child(3) button")
    return found


def measure(file: Path, runs: int, times: int) -> dict[str, float]:
    """Medians over `times` openings, each in a browser of its own."""
    seen: list[dict[str, float]] = []
    with sync_playwright() as playwright:
        for _ in range(times):
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
            seen.append(visit(browser.new_page(viewport={"width": 1440, "height": 900}), file, runs))
            browser.close()
    return {name: median(one[name] for one in seen) for name in seen[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=3_000, help="three questions about each")
    parser.add_argument("--checkpoints", type=int, default=4)
    parser.add_argument("--words", type=int, default=80, help="of a reply, on average")
    parser.add_argument("--out", type=Path, help="JSON of what was measured")
    parser.add_argument("--page", type=Path, help="keep the page here, to look at")
    parser.add_argument("--smoke", action="store_true")
    given = parser.parse_args()
    scenes, times = (20, 1) if given.smoke else (given.scenes, 5)
    with tempfile.TemporaryDirectory() as folder:
        html, n_questions = draw(Path(folder), scenes, given.checkpoints, given.words)
        file = given.page or Path(folder) / "report.html"
        file.write_bytes(html)
        seconds = measure(file, given.checkpoints, times)
    told: dict[str, Any] = {
        "n_questions": n_questions,
        "n_checkpoints": given.checkpoints,
        "words_per_reply": given.words,
        "megabytes": len(html) / 1e6,
        "seconds": seconds,
    }
    print(f"{n_questions:,} questions, {given.checkpoints} checkpoints: {told['megabytes']:.1f} MB")
    for name, value in seconds.items():
        print(f"  {name:<18}{value:6.2f} s")
    results.write(given.out, told)


if __name__ == "__main__":
    main()
