"""The tables of `vt curate agree`."""

from videothinker.records import Category
from videothinker.records.agreement import Agreement, Pair
from videothinker.reports.page import count, estimate
from videothinker.reports.probe import Grid, number


def grids(found: Agreement) -> list[Grid]:
    """Who labels how many questions, and how far each pair agrees."""
    raters = Grid(
        f"Label files, over {count(found.n_questions)} questions that at least one labels; unknown: not in the data set",
        ("", "labels", "lacking", "unknown", *Category),
        [
            (one.name, count(one.n_labels), count(one.n_lacking), count(one.n_strange), *map(count, one.categories.values()))
            for one in found.raters
        ],
    )
    pairs = Grid(
        "Pairs, over the questions that both label, with 95 % intervals clustered by clip",
        ("", "questions", "alike", "Cohen's kappa"),
        [(_pair(one), count(one.n_questions), estimate(one.alike), number(one.kappa, ".2f")) for one in found.pairs],
    )
    decided = Grid(
        "The same over the questions of which neither is unsure",
        ("", "questions", "alike"),
        [(_pair(one), count(one.n_decided), estimate(one.alike_decided)) for one in found.pairs],
    )
    return [raters, pairs, decided]


def _pair(one: Pair) -> str:
    return f"{one.one}, {one.other}"
