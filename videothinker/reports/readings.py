"""The tables that show one set of replies as every protocol reads it."""

from collections.abc import Sequence

from videothinker.diagnose.protocols.base import Reading
from videothinker.diagnose.readings import Disagreement, Readings, disagreements, scores
from videothinker.reports.page import count, estimate
from videothinker.reports.tables import Table

MOST = 20
"""Ways of scoring one reply differently that are listed."""
_BEGINNING, _END = 30, 60
"""Characters of a longer reply that are shown: answers stand at either end."""


_COUNTS = {
    "Left out": ("n_left_out", "not in its denominator"),
    "Unread": ("n_unread", "no answer was found"),
    "Guessed": ("n_guessed", "a random option, where none was found"),
    "Right unread": ("n_right_unread", "counted as right though no answer was found, or several"),
    "For a judge": ("n_for_a_judge", "matched by no rule, so that it would ask a judge model"),
    "Gained": ("n_gained", "right here, and not as we read them"),
    "Lost": ("n_lost", "right as we read them, and not here"),
}
"""Columns that count replies: the field of `ReadBy`, and what it means."""


def readings_table(readings: Sequence[Readings]) -> Table:
    """Accuracy by checkpoint, question set and protocol, and what it rests on; counts that are 0 everywhere are left out."""
    rows = [row for each in readings for row in scores(each)]
    counts = {name: field for name, (field, _) in _COUNTS.items() if any(getattr(row, field) for row in rows)}
    sets = len({row.source for row in rows}) > 1
    told = "; ".join(f"{name.lower()}: {_COUNTS[name][1]}" for name in counts)
    return Table(
        "readings",
        "Questions answered right, by who reads the replies; nothing was asked again."
        + (f" Of the replies, {told}." if told else ""),
        ("Checkpoint", *(("Questions of",) if sets else ()), "Read by", "Right", "Questions", *counts),
        [
            (
                row.run,
                *((row.source,) if sets else ()),
                row.protocol,
                estimate(row.per_question),
                count(row.n_questions),
                *(count(getattr(row, field)) for field in counts.values()),
            )
            for row in rows
        ],
    )


def disagreements_table(readings: Sequence[Readings]) -> Table:
    """The ways in which protocols score replies differently, the most frequent first, each with its number and an example."""
    names = list(dict.fromkeys(name for each in readings for name in each.by))
    ways: dict[tuple[str, ...], list[Disagreement]] = {}
    for one in disagreements(readings):
        ways.setdefault(tuple(_verdict(one.by[name]) if name in one.by else "" for name in names), []).append(one)
    ordered = sorted(ways.items(), key=lambda item: -len(item[1]))
    left = len(ordered) - MOST
    return Table(
        "disagreements",
        f"{count(sum(map(len, ways.values())))} replies that protocols score differently, by how they do, with an example: "
        "the answer that is read, + where it counts as right, \u2212 where as wrong, and why, where no answer was simply read."
        + (f" {count(left)} rarer ways are left out." if left > 0 else ""),
        ("Replies", "Example", "Correct", "Reply", *names),
        [_row(found, names) for _, found in ordered[:MOST]],
    )


def _row(found: Sequence[Disagreement], names: Sequence[str]) -> tuple[str, ...]:
    one = found[0]
    reply = " ".join(one.reply.split())
    shown = reply if len(reply) <= _BEGINNING + _END else f"{reply[:_BEGINNING]} \u2026 {reply[-_END:]}"
    example = f"{one.run}, {one.question.question_id}"
    cells = (_cell(one.by[name]) if name in one.by else "" for name in names)
    return (count(len(found)), example, ",".join(one.question.gold) or "none", shown or "(empty)", *cells)


def _verdict(reading: Reading) -> str:
    """What a way of scoring is told apart by."""
    return f"{reading.counted} {reading.right} {reading.why}"


def _cell(reading: Reading) -> str:
    said = "?" if reading.chosen is None else ",".join(reading.chosen) or "none"
    mark = ("+" if reading.right else "\u2212") if reading.counted else ""
    return " ".join(part for part in (said, mark, f"({reading.why})" if reading.why else "") if part)
