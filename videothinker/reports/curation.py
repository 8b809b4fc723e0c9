"""The curation report of CLEVRER: what counterfactual questions ask, which of them watching answers, and what was curated.

Numbers about labels are computed from the labels, not taken from the manifest, so that the page can be checked against the
files. What further readings of the definition would give is in the manifest alone.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from videothinker.answers import LETTERS
from videothinker.curate.datasets.clevrer.build import ClevrerCuration
from videothinker.curate.datasets.clevrer.paper import ANSWERABLE, AS_LOGGED, PAPER_OBSERVATIONAL, PAPER_QUESTIONS, SEEN
from videothinker.diagnose.estimates import clustered_share
from videothinker.observers.log import OBSERVER_FLOOR
from videothinker.progress import Progress, no_progress
from videothinker.records import DECIDED, Category, Estimate, Question, Rule
from videothinker.reports import page, words
from videothinker.reports.browser import Films, browser_data, shuffled
from videothinker.reports.drawing import Drawing
from videothinker.reports.figures import Line, Series, bars
from videothinker.reports.page import count, estimate, percent
from videothinker.reports.tables import DASH, Table
from videothinker.reports.unresolved import unresolved_table
from videothinker.reports.words import Explained, explained

N_BROWSED = 2_000
"""Most questions in the page's browser; all are in labels.parquet."""
N_LISTED = 200
"""Most unresolved questions and missing clips in the page; all are in unresolved.jsonl and manifest.json."""

MEANING = {
    Rule.ANY_OPTION: "some option names a collision that is seen in the film (the paper's sentence, word for word)",
    Rule.CORRECT_OPTION: "some option names a collision that is seen in the film and still happens without the object",
    Rule.ORACLE: "whoever only watched gets the whole answer right",
}
"""The condition under which each rule calls a question observational."""

_OVERLAP = {
    (True, True, True): "A seen collision still happens, and watching gives the whole answer.",
    (True, True, False): "A seen collision still happens, but watching gets another option wrong.",
    (True, False, True): "The seen collisions go with the removed object; watching gives the whole answer.",
    (True, False, False): "No seen collision still happens, and watching gets an option wrong.",
    (False, False, True): "No option was seen, and none happens: watching gives the whole answer.",
    (False, False, False): "No option was seen, but some happen once the object is gone.",
}
"""What it means to be observational, or not, under any-option, correct-option and oracle. Two combinations cannot occur."""


class Overlap(NamedTuple):
    """Questions on which each of the three rules says the same."""

    observational: tuple[bool, ...]
    """What each rule says of them, in the order of `Rule`."""
    meaning: str
    n: int
    share: float


def curation_pages(release: ClevrerCuration, *, out: Path | None = None, progress: Progress = no_progress) -> dict[str, bytes]:
    """report.html, report.md and the figures (PNG and SVG, light and dark) of one curation, by file name.

    out: folder that the page will lie in, for links to clips; None means no links. progress: counts the questions whose film
    strips were looked for, at most `n_films(release)`.
    """
    curation, labels = release.curation, release.table
    manifest = curation.manifest
    rule = Rule(manifest["rule"])
    shares = {each: _mean(labels, labels[each.column] == Category.OBSERVATIONAL) for each in Rule}
    observer = {(each, kind): _observer(labels, each, kind) for each in Rule for kind in DECIDED}
    overlaps = _overlaps(labels)
    asked = [(one.split, one.question) for one in curation.members]
    known = explained([question for _, question in asked], curation.labels, release.scenes, release.removed_objects)
    examples = _examples(known.values(), rule, curation.videos_root)
    browsed = _browsed(asked, examples)
    films = Films(curation.videos_root, out)
    drawn = [known[question.question_id] for _, question in browsed]
    films.embed([*examples.values(), *sorted(drawn, key=lambda one: shuffled(one.question.question_id))], progress)
    drawings = [_share_figure(shares), _observer_figure(observer)]
    score = observer[rule, Category.OBSERVATIONAL].value
    context: dict[str, Any] = {
        "rule": rule,
        "meaning": MEANING,
        "n": labels.height,
        "n_scenes": labels["scene_index"].n_unique(),
        "shares": shares,
        "observer": {kind: observer[rule, kind] for kind in DECIDED},
        "warnings": manifest["warnings"],
        "weak": score is not None and score < OBSERVER_FLOOR,
        "paper": (PAPER_OBSERVATIONAL, PAPER_QUESTIONS, PAPER_OBSERVATIONAL / PAPER_QUESTIONS),
        "matches": None if manifest["paper"] is None else [_match_text(one) for one in manifest["paper"]["matches_paper"]],
        "view": manifest["view"],
        "examples": [_told(kind, one) for kind, one in examples.items()],
        "overlaps": overlaps,
        "tables": {
            "rules": _rules_table(labels, shares, observer),
            "overlap": _overlap_table(overlaps),
            "readings": _readings_table(manifest["readings"]),
            "options": _options_table(labels),
            "letters": _letters_table(labels),
            "answers": _answers_table(labels),
            "blind": _blind_table(labels, rule),
            "unresolved": unresolved_table(curation.unresolved, N_LISTED),
            "splits": _splits_table(labels, rule),
            "settings": _settings_table(manifest),
        },
        "drawings": {drawing.name: drawing for drawing in drawings},
        "unresolved": curation.unresolved[:N_LISTED],
        "n_unresolved": len(curation.unresolved),
        "missing": manifest["missing_videos"],
        "n_listed": N_LISTED,
        "n_browsed": len(browsed),
        "films": films,
    }
    data = browser_data(browsed, curation.labels, {one.question.question_id: one for one in drawn}, films)
    return {
        **page.report("curation", data=data, **context),
        **{name: content for drawing in drawings for name, content in drawing.files.items()},
    }


def n_films(release: ClevrerCuration) -> int:
    """The number that `progress` of `curation_pages` reaches at most."""
    return min(len(release.curation.members), N_BROWSED) + len(DECIDED)


def _mean(labels: pl.DataFrame, values: pl.Series) -> Estimate:
    """Share of the questions for which `values` is true, clustered by scene."""
    return clustered_share(values.cast(pl.Float64).to_numpy(), np.ones(labels.height), labels["scene_index"].to_numpy())


def _observer(labels: pl.DataFrame, rule: Rule, kind: Category) -> Estimate:
    """Share of one pool's questions that the observer answers exactly right."""
    pool = labels.filter(pl.col(rule.column) == kind)
    return _mean(pool, pool["gold"] == pool["observer"])


def _overlaps(labels: pl.DataFrame) -> list[Overlap]:
    """The questions by what each rule says of them, without the patterns that cannot occur."""
    patterns = Counter(
        tuple(kind == Category.OBSERVATIONAL for kind in row) for row in labels.select(rule.column for rule in Rule).iter_rows()
    )
    assert set(patterns) <= set(_OVERLAP), "the rules contradict each other"
    return [
        Overlap(pattern, words, patterns[pattern], patterns[pattern] / max(labels.height, 1))
        for pattern, words in _OVERLAP.items()
    ]


# ---- examples ----------------------------------------------------------------------------------------------------------


def _examples(known: Iterable[Explained], rule: Rule, root: Path | None) -> dict[Category, Explained]:
    """The clearest question of each category: it has a clip, and watching answers the observational one and not the other."""

    def unclear(one: Explained) -> tuple[Any, ...]:
        question, needed = one.question, one.categories[rule] is Category.INFERENTIAL
        misled = not set(one.observer) <= set(question.gold)  # something was seen, and is wrong
        return (
            root is None or not (root / question.path).is_file(),
            (one.observer == question.gold) is needed,
            misled is not needed,
            not question.gold,
            DASH in words.seen(one),
            one.negated,
            len(question.options) < 3,
            not any(one.removed_object in hit.object_ids for hit in one.scene.collisions),
            len(set(one.categories.values())) > 1,
            not 2 <= len(one.scene.collisions) <= 4,
            shuffled(question.question_id),
        )

    pools: dict[Category, list[Explained]] = {kind: [] for kind in DECIDED}
    for one in known:
        pools[one.categories[rule]].append(one)
    return {kind: min(pool, key=unclear) for kind, pool in pools.items() if pool}


def _told(kind: Category, one: Explained) -> dict[str, Any]:
    """One worked example in words, for the text around its card and for Markdown."""
    gold = one.question.gold
    options = zip(one.options, words.seen(one), words.happens(one, gold), words.happens(one, one.observer), strict=True)
    mark = {True: "yes", False: "no"}
    return {
        "kind": kind,
        "question": one.question,
        "observer": one.observer,
        "removed": words.removed_name(one),
        "log": words.log(one.scene),
        "why": words.why(one),
        "fooled": one.observer != gold,
        "table": Table(
            f"example-{kind}",
            f"Options of question {one.question.question_id}.",
            ("Option", "In the film", "Happens without it", "Observer believes it happens", "Observer answers", "Correct"),
            [
                (
                    f"{letter}. {text}",
                    where,
                    mark[truth],
                    mark[belief],
                    mark[letter in one.observer],
                    mark[letter in gold],
                )
                for (letter, text), where, truth, belief in options
            ],
        ),
    }


def _browsed(asked: Sequence[tuple[str, Question]], examples: Mapping[Category, Explained]) -> list[tuple[str, Question]]:
    """The questions of the page's browser in file order: all of them, or as many as fit, drawn by hash."""
    drawn = sorted(asked, key=lambda one: shuffled(one[1].question_id))[:N_BROWSED]
    kept = {question.question_id for _, question in drawn} | {one.question.question_id for one in examples.values()}
    return [one for one in asked if one[1].question_id in kept]


# ---- tables and figures ------------------------------------------------------------------------------------------------


def _rules_table(
    labels: pl.DataFrame, shares: Mapping[Rule, Estimate], observer: Mapping[tuple[Rule, Category], Estimate]
) -> Table:
    def row(rule: Rule) -> tuple[str, ...]:
        n = int((labels[rule.column] == Category.OBSERVATIONAL).sum())
        scores = (estimate(observer[rule, kind]) for kind in DECIDED)
        return (rule, count(n), count(labels.height - n), estimate(shares[rule]), *scores)

    return Table(
        "rules",
        "Questions by category under each rule, and the share of each pool that the observer answers exactly right, with 95 % "
        "intervals clustered by scene.",
        ("Rule", "Observational", "Inferential", "Share observational", "Observer on observational", "Observer on inferential"),
        [row(rule) for rule in Rule],
    )


def _overlap_table(overlaps: Sequence[Overlap]) -> Table:
    said = {True: "observational", False: "inferential"}
    return Table(
        "overlap",
        "How the three rules overlap. No other combination can occur.",
        ("What it means", *Rule, "Questions", "Share"),
        [(one.meaning, *(said[yes] for yes in one.observational), count(one.n), percent(one.share)) for one in overlaps],
    )


def _readings_table(readings: Mapping[str, Any]) -> Table:
    n = readings["n_questions"][ANSWERABLE]

    def row(reading: str, logs: Mapping[str, Any]) -> tuple[str, ...]:
        seen, logged = logs[SEEN][ANSWERABLE], logs[AS_LOGGED][ANSWERABLE]
        shares = (percent(seen[kind] / n[kind] if n[kind] else None) for kind in ("all", "will", "will not"))
        return (reading, count(seen["all"]), count(logged["all"]), *shares)

    return Table(
        "readings",
        f"The {count(n['all'])} questions with a correct option under every reading: how many are observational by what can be "
        "seen, and by the log as it is; shares by what can be seen.",
        ("Reading", "Seen", "As logged", "Share", 'of "what will"', 'of "what will not"'),
        [row(reading, logs) for reading, logs in readings["observational"].items()],
    )


def _match_text(one: Mapping[str, str]) -> str:
    """One way of counting that gives the paper's number, in words."""
    log = {SEEN: "by what can be seen", AS_LOGGED: "by the log as it is"}[one["log"]]
    return f"{one['reading']} {log}" + (" of the questions with a correct option" if one["questions"] == ANSWERABLE else "")


def _options_table(labels: pl.DataFrame) -> Table:
    most = int(labels["n_correct"].max() or 0)  # type: ignore[arg-type]
    rows = []
    for n_choices in sorted(labels["n_choices"].unique()):
        correct = Counter(labels.filter(pl.col("n_choices") == n_choices)["n_correct"])
        n = sum(correct.values())
        cells = (percent(correct[k] / n) if k <= n_choices else "" for k in range(most + 1))
        rows.append((str(n_choices), count(n), percent(n / labels.height), *cells))
    return Table(
        "options",
        "Questions by number of options, and the share of these with each number of correct options.",
        ("Options", "Questions", "Share", *(f"{k} correct" for k in range(most + 1))),
        rows,
    )


def _letters_table(labels: pl.DataFrame) -> Table:
    rows = []
    for position, letter in enumerate(LETTERS[: int(labels["n_choices"].max() or 0)]):  # type: ignore[arg-type]
        having = labels.filter(pl.col("n_choices") > position)
        columns = [
            _mean(pool, pool["gold"].str.contains(letter, literal=True))
            for pool in (having, having.filter(~pl.col("negated")), having.filter(pl.col("negated")))
        ]
        rows.append((letter, count(having.height), *map(estimate, columns)))
    return Table(
        "letters",
        "How often each letter is correct among the questions that have it. Where position says nothing, the shares are even.",
        ("Letter", "Questions with it", "Correct", 'of "what will"', 'of "what will not"'),
        rows,
    )


def _answers_table(labels: pl.DataFrame) -> Table:
    answers = Counter(labels["gold"])
    rows = [
        (answer.replace(",", ", ") or "none", count(n), percent(n / labels.height))
        for answer, n in sorted(answers.items(), key=lambda item: (-item[1], item[0]))[:8]
    ]
    return Table("answers", f"The most frequent of {len(answers)} different answers.", ("Answer", "Questions", "Share"), rows)


def _blind_table(labels: pl.DataFrame, rule: Rule) -> Table:
    """Accuracy of guessing, for each form and number of options, the most frequent answer of the train split."""
    train = labels.filter(pl.col("split") == "train")
    source = "train split" if train.height else "same questions"
    known = train if train.height else labels
    prior = {
        (negated, n_choices): min(Counter(group["gold"]).items(), key=lambda item: (-item[1], item[0]))[0]
        for (negated, n_choices), group in known.group_by("negated", "n_choices")
    }
    guess = pl.Series([prior.get(key, "") for key in labels.select("negated", "n_choices").iter_rows()], dtype=pl.String)
    right = labels.with_columns(right=guess == labels["gold"], random=0.5 ** labels["n_choices"])
    rows = []
    for name, pool in (("all", right), *((kind, right.filter(pl.col(rule.column) == kind)) for kind in DECIDED)):
        rows.append((name, count(pool.height), estimate(_mean(pool, pool["right"])), percent(pool["random"].mean())))  # type: ignore[arg-type]
    return Table(
        "blind",
        f"What guessing without any film is worth: questions answered exactly right by the most frequent answer of the "
        f"{source} for each form and number of options, and by a random set of options. Categories are by {rule}.",
        ("Questions", "Number", "Most frequent answer", "Random set"),
        rows,
    )


def _splits_table(labels: pl.DataFrame, rule: Rule) -> Table:
    rows = []
    for split in labels["split"].unique(maintain_order=True):
        part = labels.filter(pl.col("split") == split)
        n = int((part["category"] == Category.OBSERVATIONAL).sum())
        trained = count(int(part["in_train_set"].sum())) if split == "train" else DASH
        scenes = part["scene_index"].n_unique()
        rows.append((split, count(scenes), count(part.height), count(n), count(part.height - n), trained))
    return Table(
        "splits",
        f"Splits, with categories by {rule}. All questions of a scene are in one split.",
        ("Split", "Scenes", "Questions", "Observational", "Inferential", "In the training set"),
        rows,
    )


def _settings_table(manifest: Mapping[str, Any]) -> Table:
    kept = {key: manifest[key] for key in ("videos_root", "settings", "inputs", "provenance")}
    rows = [(key, page.value_text(value)) for key, value in page.leaves(kept)]
    return Table("settings", "Settings, inputs and provenance of this curation.", ("Setting", "Value"), rows)


def _share_figure(shares: Mapping[Rule, Estimate]) -> Drawing:
    return bars(
        "share",
        "Share of counterfactual questions that are observational under each reading of the paper's definition, with 95 % "
        "intervals clustered by scene.",
        list(Rule),
        [Series("observational", "blue", list(shares.values()))],
        x_label="observational questions (%)",
        lines=[Line("paper, CLEVRER: 74.0 %", PAPER_OBSERVATIONAL / PAPER_QUESTIONS)],
    )


def _observer_figure(observer: Mapping[tuple[Rule, Category], Estimate]) -> Drawing:
    series = [
        Series(kind, colour, [observer[rule, kind] for rule in Rule])
        for kind, colour in zip(DECIDED, ("blue", "orange"), strict=True)
    ]
    return bars(
        "observer",
        "What watching alone is worth: questions that the observer answers exactly right, with 95 % intervals clustered by "
        "scene.",
        list(Rule),
        series,
        x_label="questions that the observer answers exactly right (%)",
        lines=[Line("90 %", OBSERVER_FLOOR)],
    )
