"""Text from outside can break neither a page nor the Markdown report: it comes back as the text that it was.

Every page is made twice, once with harmless words and once with hostile ones in the same places. Both have to have the same
elements, and where the first page shows a harmless word, the second shows the hostile one.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from curated_factory import a_choice
from matplotlib.figure import Figure
from report_factory import Made, make, make_curation, make_run, page_data
from study_factory import FILE, finish, make_study

from videothinker.curate.build import Curation
from videothinker.curate.datasets import dataset_named
from videothinker.curate.question_set import Counted
from videothinker.curated import NO_LABELS, Member
from videothinker.diagnose.runs import Run, comparisons
from videothinker.records import Benchmark, Clip, Unresolved
from videothinker.records.study_cells import Record, State
from videothinker.reports import drawing
from videothinker.reports.curation import curation_pages
from videothinker.reports.diagnosis import diagnosis_pages
from videothinker.reports.question_set import question_set_pages
from videothinker.reports.study import study_pages
from videothinker.reports.tables import markdown_text
from videothinker.study.cells import read_records, state_of
from videothinker.study.collect import collect

SAVE = drawing._save
HARMLESS = "plain words"
HOSTILE = {
    "script": "</script><script>window.hacked = 1</script><!--",
    "style": "</style></title></textarea></noscript>]]><svg/onload=hacked()>",
    "image": "<img src=x onerror='window.hacked = 1'>",
    "quotes": '" onmouseover="hacked()" \' autofocus onfocus=\'hacked()',
    "template": "{{ 7 * 7 }}{% raw %}{# x #}${7}",
    "entity": "&lt;b&gt; &amp;amp; &#60;i&#62;",
    "terminal": "a\x1b[31mred\x1b]0;title\x07\x9b2Jb",
    "direction": "a\u202etxt.exe\u2066b\u200f",
    "null": "a\0b\x01\x7f",
    "surrogate": "a\ud800b\udfff",
    "table": "a | b \\| c\n| --- | --- |\n\n# heading\r\n- [x](javascript:hacked())",
    "markdown": "**bold** `code` _x_ ![p](https://example.org/p.png) <b>bold</b> ~~~ ```",
}
SHOWN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\u2028\u2029\ufeff\ud800-\udfff]")
"""What a page shows as an escape, since nobody could see it, or the page could not hold it."""


def as_shown(text: str) -> str:
    return " ".join(SHOWN.sub(lambda found: ascii(found[0])[1:-1], text).split())


class Reading(HTMLParser):
    """A page's elements with the names of their attributes, the texts that it shows, and what its scripts hold."""

    def __init__(self, html: bytes) -> None:
        super().__init__()
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.scripts: list[str] = []
        self.comments = 0
        self._texts = [""]
        self._in = ""
        self.feed(html.decode())  # a page is UTF-8, whatever is in it

    @property
    def texts(self) -> str:
        return "\n".join(" ".join(text.split()) for text in self._texts)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(name for name, _ in attrs)))
        self._in = "as-text" if ("class", "as-text") in attrs else tag
        self._texts += [value for name, value in attrs if value and name in ("alt", "title", "aria-label", "value")]
        self._texts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._in = ""
        self._texts.append("")

    def handle_comment(self, data: str) -> None:
        self.comments += 1

    def handle_data(self, data: str) -> None:
        if self._in == "script":
            self.scripts.append(data)
        elif self._in not in ("style", "as-text"):  # LaTeX and CSV write it otherwise: test_tables holds how
            self._texts[-1] += data


def with_text(made: Made, text: str) -> Made:
    """The same questions, the first of each split with `text` in every word that comes from a file."""

    def changed(number: int, one: object) -> object:
        asked = one.question  # type: ignore[attr-defined]
        if number:
            return one
        options = tuple(f"{option} {text}" for option in asked.options)
        facets = asked.facets | {"domain": text}
        return one._replace(question=msgspec.structs.replace(asked, text=text, options=options, facets=facets))  # type: ignore[attr-defined]

    return Made(
        made.scenes, {split: [changed(i, one) for i, one in enumerate(asked)] for split, asked in made.questions.items()}
    )  # type: ignore[misc]


def curation(text: str, _: Path) -> dict[str, bytes]:
    unresolved = [Unresolved(question_id=text, scene_index=9, qid=3, file=text, reason=text)]
    found = make_curation(with_text(make(20), text), unresolved=unresolved)
    found.curation.manifest["missing_videos"] = [text]
    found.curation.manifest["settings"]["source"] = text
    found.curation.manifest["warnings"] = [text]
    return curation_pages(found)


def diagnosis(text: str, _: Path) -> dict[str, bytes]:
    made = with_text(make(20), text)
    runs = [made_run(number, f"{number} {text}", made, text) for number in ("first", "second")]
    return diagnosis_pages(runs, comparisons(runs), None)


def made_run(seed: str, name: str, made: Made, text: str) -> Run:
    """A checkpoint of that name, of whose replies the first is the text, and the second an error that says it."""
    run = make_run(seed, made.questions["dev"], skill=0.5, shortcut=0.5)
    first, second, *others = run.predictions
    replies = [msgspec.structs.replace(first, reply=text), msgspec.structs.replace(second, error=text), *others]
    record = msgspec.structs.replace(run.record, model=text, partial=None, settings=run.record.settings | {"split": text})
    return run._replace(name=name, predictions=replies, record=record)


def study(text: str, folder: Path) -> dict[str, bytes]:
    spec, plan = make_study(folder, FILE)
    out = folder / "out"
    questions = make(12, 3).questions["train"]
    for cell in plan:
        if cell.seed in (None, 1) and "attract" not in cell.name:
            finish(cell, out, questions)
    failed = next(cell for cell in plan if cell.name == "attract-s1")
    records = read_records(plan, out)
    records[failed.name] = Record(
        identity=failed.identity, state=State.FAILED, command=f"vt train {text}", returncode=1, tail=("Traceback", text)
    )
    states = {cell.name: state_of(cell, records.get(cell.name), out) for cell in plan}
    found = collect(spec, plan, out, states, records).results
    arms = {name: msgspec.structs.replace(arm, note=text) if name == "cdpo" else arm for name, arm in spec.arms.items()}
    asks = {name: msgspec.structs.replace(ask, note=text) for name, ask in spec.ask.items()}
    named = msgspec.structs.replace(spec, title=text, note=text, arms=arms, ask=asks)
    verdicts = [msgspec.structs.replace(one, claim=msgspec.structs.replace(one.claim, text=text)) for one in found.verdicts]
    trainings = [
        msgspec.structs.replace(one, alarms=[(3, text)], gate=[text] if one.stage == "bias" else one.gate)
        for one in found.trainings
    ]
    return study_pages(msgspec.structs.replace(found, study=named, verdicts=verdicts, trainings=trainings))


def question_set(text: str, _: Path) -> dict[str, bytes]:
    asked = [a_choice(str(number), gold="A", facets={"domain": text}, group=f"clip {number}") for number in range(3)]
    first = msgspec.structs.replace(asked[0], text=text, options=(text, f"not {text}"), clip=Clip(path=text))
    manifest = {
        "benchmark": Benchmark(name=text),
        "chance": 0.25,
        "warnings": [text],
        "notes": [text],
        "facets": {"domain": {text: 3}},
        "unresolved": {text: 1},
        "missing_videos": [text],
        "videos_root": text,
        "settings": {"variant": None, "columns": [text]},
        "inputs": {"file": text},
        "provenance": {"source": text},
    }
    unresolved = [Unresolved(question_id=text, file=text, reason=text)]
    members = [Member(one, "test", True) for one in [first, *asked[1:]]]
    found = Curation(members, NO_LABELS, unresolved, manifest, None)
    return question_set_pages(dataset_named("records"), Counted(found, [text], [text]))


PAGES: dict[str, Callable[[str, Path], dict[str, bytes]]] = {
    "curation": curation,
    "question set": question_set,
    "diagnosis": diagnosis,
    "study": study,
}


@pytest.fixture(scope="module", autouse=True)
def no_pictures() -> Iterator[None]:
    """Figures are drawn and not saved, which takes most of a page's time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawing, "_save", lambda *_, **__: b"<svg/>")
        yield


EVERY = " ".join(HOSTILE.values())


@pytest.fixture(scope="module", params=PAGES)
def twice(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """One page with harmless words, and with all kinds of hostile ones at once."""
    make_pages = PAGES[request.param]
    return make_pages(HARMLESS, tmp_path_factory.mktemp("plain")), make_pages(EVERY, tmp_path_factory.mktemp("hostile"))


def lines(text: str, shown: str) -> list[str]:
    return [line.replace(shown, "@") for line in text.splitlines() if shown in line]


def test_text_from_outside_stays_text(twice: tuple[dict[str, bytes], dict[str, bytes]]) -> None:
    expected, found = (Reading(pages["report.html"]) for pages in twice)
    assert Counter(found.elements) == Counter(expected.elements)
    assert found.comments == 0
    assert len(found.scripts) == len(expected.scripts)
    told = lines(found.texts, as_shown(EVERY))
    assert len(told) > 5
    assert told == lines(expected.texts, HARMLESS)
    assert not SHOWN.search(twice[1]["report.html"].decode())


def test_markdown_has_no_element_link_or_block_more(twice: tuple[dict[str, bytes], dict[str, bytes]]) -> None:
    plain, hostile = twice
    for file in [file for file in plain if file.endswith(".md")]:
        before, after = (pages[file].decode() for pages in (plain, hostile))
        assert HARMLESS in before
        assert shape(after) == shape(before)
        assert not SHOWN.search(after)


def test_every_tables_files_can_be_written_whatever_is_in_it(twice: tuple[dict[str, bytes], dict[str, bytes]]) -> None:
    plain, hostile = twice
    for file in [file for file in plain if file.startswith("tables/")]:
        assert not SHOWN.search(hostile[file].decode()), file
        if file.endswith(".tex"):
            assert hostile[file].count(b"\n") == plain[file].count(b"\n")


def shape(markdown: str) -> list[tuple[int, str, int, int, int]]:
    """For each line: its number of cells, what block it begins, and how many elements, entities and links there are in it."""
    found = []
    for line in markdown.split("\n"):
        bare = re.sub(r"\\[\\`<>&|()\[\]#*+~=-]", "", line)
        block = re.match(r"#+ |[-+*] |> |\||!\[|\*\*|```|~~~|---|===|$", bare)
        inside = (len(re.findall(one, bare)) for one in (r"<[A-Za-z/!?]", r"&#?\w+;", r"\]\("))
        cells = bare.count("|") if bare.startswith("|") else 0
        found.append((cells, block[0] if block else "text", *inside))
    return found  # type: ignore[return-value]


@pytest.mark.parametrize("kind", HOSTILE)
def test_replies_and_questions_come_back_from_a_page_as_they_were(kind: str, tmp_path: Path) -> None:
    text = HOSTILE[kind]
    html = diagnosis(text, tmp_path)["report.html"]
    data = page_data(html)
    first, second = data["questions"][:2]
    assert first["text"] == text
    assert first["options"][0].endswith(f" {text}")
    assert [reply["reply"] for reply in first["replies"]] == [text, text]
    assert [reply["reply"] for reply in second["replies"]] == [text, text]
    assert data["runs"] == [f"first {text}", f"second {text}"]
    assert page_data(curation(text, tmp_path)["report.html"])["questions"][0]["text"] == text


def test_markdown_text_by_hand() -> None:
    told = {
        "a < b, p < 0.001": "a < b, p < 0.001",
        "<b>x</b>": r"\<b>x\</b>",
        "\\<b>": r"\\\<b>",
        "&lt; & &#60;": r"\&lt; & \&#60;",
        "![p](http://x)": r"![p\](http://x)",
        "74.0 [73.4, 74.6]": "74.0 [73.4, 74.6]",
        "# a\nb\r\n\u2028c": r"\# a b  c",
        "- a": r"\- a",
        "-1.5": "-1.5",
        "> a": r"\> a",
        "a\0\x1b\u202e\ud800": r"a\x00\x1b\u202e\ud800",
    }
    assert {text: markdown_text(text) for text in told} == told


def test_a_name_with_dollars_is_no_formula_and_one_with_control_characters_is_drawn() -> None:
    def draw(_: dict[str, str]) -> Figure:
        figure = Figure()
        figure.text(0, 0, "$x^2$ $\\frac{a$ \0\x1b\ud800")
        return figure

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawing, "_save", lambda figure, *_, **__: SAVE(figure, "svg", metadata={"Date": None}))
        assert drawing.themed("x", "", "", draw).files["figure-x.svg"].startswith(b"<?xml")
