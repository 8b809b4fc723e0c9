"""The tables of docs/probe.md, from what `probe_quality.py` and `flipped_labels.py` have written down.

    tables = of_quality([clevrer74, clevrer])
    put_in(Path("docs/probe.md"), tables)

A table stands in the page between `<!-- table NAME -->` and `<!-- end of table -->`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from videothinker import store
from videothinker.errors import VtError
from videothinker.records import Estimate, Rule
from videothinker.records.training import Judged
from videothinker.reports.page import DASH, Table, count, estimate, percent, points

Found = Mapping[str, Any]
"""A JSON file's content, or a part of it."""
OBS, INF = "observational", "inferential"


_TRAINED = ("grpo", "cdpo", "bias")
"""Checkpoints that were trained from a base and differ little from it: of these the tables have the main rows alone."""


def of_quality(worlds: Sequence[Found]) -> list[Table]:
    """The tables on labels: of greedy replies, under every rule, as counts, and by number of samples.

    Rows that are left out to keep a page short are in the JSON files: of `_TRAINED` all but greedy replies to whole clips, and
    samples of views that are not meant as labels.
    """
    rows = [(told["world"], row) for told in worlds for row in told["rows"]]
    greedy = [
        (world, row)
        for world, row in rows
        if row["greedy"] and not (row["checkpoint"] in _TRAINED and row["view"] in ("frozen", "blind"))
    ]
    of_bases = [(world, row) for world, row in rows if row["checkpoint"] not in _TRAINED]
    described = [(world, row) for world, row in of_bases if row["greedy"] and row["view"] == "described"]
    sampled = [
        (world, row)
        for world, row in of_bases
        if not row["greedy"] and (row["view"] in ("twin", "described") or row["checkpoint"].startswith("solver"))
    ]
    return [_worlds(worlds), _greedy(greedy), _rules(described), _counts(described), _samples(sampled)]


def _worlds(worlds: Sequence[Found]) -> Table:
    rows = [
        (
            told["world"]["preset"],
            str(told["world"]["seed"]),
            count(told["world"]["n_questions"]),
            count(told["world"]["n_clips"]),
            *(percent(told["world"]["observational"][rule]) for rule in _rules_in_order()),
            *(percent(told["world"]["exact_twin"][key]) for key in ("names_removed", "agrees", "precision_inferential")),
        )
        for told in worlds
    ]
    title = (
        "The worlds, the share of questions that are observational under each rule, and what a faultless twin would be worth"
    )
    twin = ("names the removed object", "exact twin: as oracle", "of its inferential")
    return Table("worlds", title, ("preset", "seed", "questions", "clips", *_rules_in_order(), *twin), rows)


def _rules_in_order() -> tuple[str, ...]:
    return (Rule.ORACLE.value, Rule.CORRECT_OPTION.value, Rule.ANY_OPTION.value)


def _greedy(rows: Sequence[tuple[Found, Found]]) -> Table:
    heads = (
        "world",
        "checkpoint",
        "view",
        "questions",
        "unread",
        "AUC",
        "precision observational",
        "precision inferential",
        "AUC without gold",
    )
    cells = [
        (
            world["preset"],
            row["checkpoint"],
            row["view"],
            count(row["n_questions"]),
            count(row["n_unread"]),
            *_quality(row, "oracle"),
            _area(row["against"]["oracle"]["auc_without_gold"]),
        )
        for world, row in rows
    ]
    return Table("greedy", "Labels from one greedy reply to each question, against the log's rule oracle", heads, cells)


def _rules(rows: Sequence[tuple[Found, Found]]) -> Table:
    heads = ("world", "checkpoint", "questions", "rule", "AUC", "precision observational", "precision inferential")
    cells = [
        (world["preset"], row["checkpoint"], count(row["n_questions"]), rule, *_quality(row, rule))
        for world, row in rows
        for rule in _rules_in_order()
    ]
    return Table("rules", "The view described, greedy, under every rule of the log", heads, cells)


def _counts(rows: Sequence[tuple[Found, Found]]) -> Table:
    cells = [
        (
            world["preset"],
            row["checkpoint"],
            rule,
            *(count(row["against"][rule]["confusion"][said][true]) for said in (OBS, INF, "unsure") for true in (OBS, INF)),
        )
        for world, row in rows
        for rule in _rules_in_order()
    ]
    heads = tuple(f"{said}, log {true}" for said in (OBS, INF, "unsure") for true in (OBS, INF))
    title = "Questions by the label of described, greedy, and by the log's"
    return Table("confusion", title, ("world", "checkpoint", "rule", *heads), cells)


def _samples(rows: Sequence[tuple[Found, Found]]) -> Table:
    heads = (
        "world",
        "checkpoint",
        "view",
        "questions",
        "samples",
        "AUC",
        "precision observational",
        "precision inferential",
        "unsure",
        "halves agree",
    )
    cells = [
        (
            world["preset"],
            row["checkpoint"],
            row["view"],
            count(row["n_questions"]),
            str(row["samples"]),
            *_quality(row, "oracle"),
            percent(row["categories"]["unsure"] / row["n_questions"]),
            DASH if row["halves"] is None else estimate(_estimate(row["halves"])),
        )
        for world, row in sorted(rows, key=_by_view)
    ]
    return Table("samples", "Labels by the number of samples at temperature 1, against the log's rule oracle", heads, cells)


def _by_view(row: tuple[Found, Found]) -> tuple[str, bool, str, str, int]:
    """Worlds, then checkpoints with the solver last, then views, then samples."""
    world, one = row
    return world["preset"], one["checkpoint"].startswith("solver"), one["checkpoint"], one["view"], one["samples"]


def _quality(row: Found, rule: str) -> tuple[str, str, str]:
    """AUC and both precisions of a row under a rule."""
    against = row["against"][rule]
    return _area(against["auc"]), *(estimate(_estimate(against["precision"][kind])) for kind in (OBS, INF))


def _estimate(value: Any) -> Estimate:
    return msgspec.convert(value, Estimate)


def _area(value: Any) -> str:
    """An AUC: ".951 [.858, .984]"."""
    found = None if value is None else _estimate(value)
    if found is None or found.value is None:
        return DASH
    inside = "" if found.ci95 is None else f" [{_thousandths(found.ci95[0])}, {_thousandths(found.ci95[1])}]"
    return _thousandths(found.value) + inside


def _thousandths(number: float) -> str:
    return f"{number:.3f}".removeprefix("0")


def of_flips(told: Found) -> list[Table]:
    """The tables on flipped labels: arithmetic, one bias model's gate as flips see it, and bias models trained on them."""
    tables = [_arithmetic(told["arithmetic"])]
    tables += [_seen(told["seen"])] if told.get("seen") else []
    return tables + ([_trained(told["trained"])] if told.get("trained") else [])


def _arithmetic(rows: Sequence[Found]) -> Table:
    cells = [(percent(row["flipped"]), percent(row["share"]), *(percent(row[kind]) for kind in (OBS, INF))) for row in rows]
    heads = ("flipped", "observational", "precision observational", "precision inferential")
    return Table("flips-arithmetic", "What flips leave of a pool's precision, by arithmetic", heads, cells)


def _seen(told: Found) -> Table:
    heads = ("flipped", "inferential, points", "expected", "observational, points", "passed", "undecided", "no shortcut model")
    cells = [
        (
            percent(row["flipped"]),
            _between(row["inferential"]),
            f"{100 * row['expected_inferential']:+.1f}".replace("-", "\u2212"),
            _between(row["observational"]),
            *(count(row["verdicts"].get(kind.value, 0)) for kind in (Judged.SHORTCUT, Judged.UNDECIDED, Judged.NO_SHORTCUT)),
        )
        for row in told["rows"]
    ]
    title = (
        f"One bias model's gate, as flipped labels see it: mean and range of {told['draws']} draws of flips, and their verdicts"
    )
    return Table("flips-seen", title, heads, cells)


def _between(values: Sequence[float]) -> str:
    """The mean of some changes and their range, in points."""
    middle = sum(values) / len(values)
    return points(Estimate(middle, None, (min(values), max(values))))


def _trained(rows: Sequence[Found]) -> Table:
    heads = ("flipped", "seed", "pool", "really observational", "gate", "inferential", "observational", "reliance", "verdict")
    cells = [
        (
            percent(row["flipped"]),
            str(row["seed"]),
            count(row["pool"]),
            percent(row["pool_precision"]),
            gate,
            *(points(_estimate(row[gate]["changes"][key])) for key in (INF, OBS, "shortcut_reliance")),
            row[gate]["verdict"].partition(":")[0],
        )
        for row in rows
        for gate in ("exact", "as seen")
    ]
    return Table("flips-trained", "Bias models trained on flipped labels, and their gates in points", heads, cells)


_MARKED = r"<!-- table {} -->\n.*?<!-- end of table -->"


def block(table: Table) -> str:
    """The table as it stands in a page, with the marks around it."""
    return f"<!-- table {table.name} -->\n\n{str(table.markdown()).replace(chr(0xA0), ' ')}\n\n<!-- end of table -->"


def put_in(page: Path, tables: Sequence[Table]) -> None:
    """Write the tables into a page, each between its marks.

    Raises:
        VtError: the page lacks a table's marks.
    """
    text = page.read_text()
    for table in tables:
        places = re.findall(_MARKED.format(table.name), text, flags=re.DOTALL)
        if len(places) != 1:
            where = f"<!-- table {table.name} -->"
            raise VtError(f"{page}: has {len(places)} places for the table {table.name}, expected one: {where}")
        text = text.replace(places[0], block(table))
    store.write_text(page, text)


def blocks_of(page: Path) -> Iterator[str]:
    """The tables that stand in a page, with their marks."""
    yield from re.findall(_MARKED.format(r"[\w-]+"), page.read_text(), flags=re.DOTALL)
