"""The curation report of any set but CLEVRER: what is asked by facet, what guessing is worth, what was kept out and why."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from videothinker.answers import LETTERS, form_of
from videothinker.curate.datasets import Dataset
from videothinker.curate.question_set import Counted
from videothinker.records import Form, Question
from videothinker.reports import page
from videothinker.reports.browser import Films, browser_data, clip_text, shuffled
from videothinker.reports.page import count, percent
from videothinker.reports.tables import DASH, Table, name_by_facet
from videothinker.reports.unresolved import unresolved_table

N_BROWSED = 1_000
"""Most questions in the page's browser; all are in questions.parquet."""
N_LISTED = 200
"""Most unresolved questions and missing clips in the page; all are in unresolved.jsonl and manifest.json."""
N_EXAMPLES = 3
"""Questions that are shown in full in report.md."""


def question_set_pages(dataset: Dataset, counted: Counted, *, out: Path | None = None) -> dict[str, bytes]:
    """report.html and report.md of one curation, by file name.

    out: folder that the page will lie in, for links to clips; None means no links.
    """
    curation = counted.curation
    manifest = curation.manifest
    asked = [(one.split, one.question) for one in curation.members]
    questions = [question for _, question in asked]
    drawn = sorted(asked, key=lambda one: shuffled(one[1].question_id))[:N_BROWSED]
    kept = {question.question_id for _, question in drawn}
    browsed = [one for one in asked if one[1].question_id in kept]
    films = Films(curation.videos_root, out)
    clips = [question.clip for question in questions]
    context: dict[str, Any] = {
        "name": dataset.name,
        "what": dataset.what,
        "variant": dataset.variants.get(manifest["settings"]["variant"] or ""),
        "benchmark": manifest["benchmark"],
        "n": len(questions),
        "n_clips": len({question.path for question in questions if question.clip}),
        "n_groups": len({question.group for question in questions}),
        "n_parts": sum(one is not None and (one.start is not None or one.end is not None) for one in clips),
        "n_folders": sum(one is not None and one.fps is not None for one in clips),
        "chance": manifest["chance"],
        "warnings": manifest["warnings"],
        "notes": manifest["notes"],
        "examples": [_example(question) for _, question in drawn[:N_EXAMPLES]],
        "facets": [_facet_table(facet, questions) for facet in manifest["facets"]],
        "tables": {
            "forms": _forms_table(questions),
            "letters": _letters_table(questions),
            "reasons": _reasons_table(manifest["unresolved"]),
            "unresolved": unresolved_table(curation.unresolved, N_LISTED),
            "splits": _splits_table(asked),
            "settings": _settings_table(manifest),
        },
        "unresolved": curation.unresolved[:N_LISTED],
        "n_unresolved": len(curation.unresolved),
        "missing": manifest["missing_videos"],
        "has_clips": curation.videos_root is not None,
        "n_listed": N_LISTED,
        "n_browsed": len(browsed),
    }
    data = browser_data(browsed, curation.labels, {}, films)
    return page.report("question_set", data=data, **context)


def _mean_chance(questions: Sequence[Question]) -> float:
    return sum(form_of(one).chance(len(one.options)) for one in questions) / len(questions)


def _example(question: Question) -> dict[str, Any]:
    """A question in words for report.md."""
    options = [(letter, text, letter in question.gold) for letter, text in zip(LETTERS, question.options, strict=False)]
    return {"id": question.question_id, "text": question.text, "options": options, "clip": clip_text(question.clip)}


def _facet_table(facet: str, questions: Sequence[Question]) -> Table:
    by_value: dict[str, list[Question]] = {}
    for one in questions:
        by_value.setdefault(one.facets.get(facet, DASH), []).append(one)
    rows = [
        (
            value,
            count(len(part)),
            percent(len(part) / len(questions)),
            count(len({one.path for one in part if one.clip})),
            percent(_mean_chance(part)),
        )
        for value, part in by_value.items()
    ]
    return Table(
        name_by_facet(facet),
        f"Questions by the facet {facet}, with what a random answer is worth.",
        (facet.replace("_", " ").capitalize(), "Questions", "Share", "Clips", "Chance"),
        rows,
    )


def _forms_table(questions: Sequence[Question]) -> Table:
    kinds = Counter((one.form, len(one.options)) for one in questions)
    chances = {(one.form, len(one.options)): form_of(one).chance(len(one.options)) for one in questions}
    rows = [
        (form.value, str(n_options), count(n), percent(n / len(questions)), percent(chances[form, n_options]))
        for (form, n_options), n in sorted(kinds.items())
    ]
    rows.append(("all", DASH, count(len(questions)), percent(1.0), percent(_mean_chance(questions))))
    return Table(
        "forms",
        "Questions by form of answer and number of options, with the chance that a random answer is right.",
        ("Form", "Options", "Questions", "Share", "Chance"),
        rows,
    )


def _letters_table(questions: Iterable[Question]) -> Table:
    lettered = [one for one in questions if one.form is not Form.YES_NO]
    rows = []
    for position, letter in enumerate(LETTERS[: max((len(one.options) for one in lettered), default=0)]):
        having = [one for one in lettered if len(one.options) > position]
        n = sum(letter in one.gold for one in having)
        expected = sum(1 / len(one.options) for one in having) / len(having)
        rows.append((letter, count(len(having)), count(n), percent(n / len(having)), percent(expected)))
    return Table(
        "letters",
        "How often each letter is correct among the questions that have it, and how often if one option were drawn.",
        ("Letter", "Questions with it", "Correct", "Share", "If drawn"),
        rows,
    )


def _reasons_table(reasons: Mapping[str, int]) -> Table:
    return Table(
        "reasons",
        "Questions that are kept out, by reason; they are in no denominator.",
        ("Reason", "Questions"),
        [(reason, count(n)) for reason, n in reasons.items()],
    )


def _splits_table(asked: Sequence[tuple[str, Question]]) -> Table:
    splits: dict[str, list[Question]] = {}
    for split, question in asked:
        splits.setdefault(split, []).append(question)
    rows = [(split, count(len({one.group for one in part})), count(len(part))) for split, part in splits.items()]
    return Table("splits", "Splits. All questions about a clip are in one split.", ("Split", "Clips", "Questions"), rows)


def _settings_table(manifest: Mapping[str, Any]) -> Table:
    kept = {key: manifest[key] for key in ("videos_root", "settings", "inputs", "provenance")}
    rows = [(key, page.value_text(value)) for key, value in page.leaves(kept)]
    return Table("settings", "Settings, inputs and provenance of this curation.", ("Setting", "Value"), rows)
