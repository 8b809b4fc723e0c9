"""The tables that show one set of replies as every protocol reads it."""

from collections.abc import Sequence

from videothinker.diagnose.protocols.base import Reading
from videothinker.diagnose.readings import Disagreement, Readings, disagreements, scores
from videothinker.reports.page import count, estimate
from videothinker.reports.tables import Table

MOST = 40
"""Replies that are listed of those which protocols score differently."""
_END = 90
"""Characters of a reply's end that are shown: answers stand there."""


def readings_table(readings: Sequence[Readings]) -> Table:
    """Accuracy by checkpoint, question set and protocol, and what it rests on."""
    return Table(
        "readings",
        "One set of replies, read as each protocol reads it; nothing was asked again. Left out: not in its denominator. "
        "Guessed: a random option, where it found no answer. Right unread: counted as right though it found no answer, or "
        "several. For a judge: matched by no rule, so that the protocol would ask a judge model. Gained and lost: replies that "
        "are right only here, or only as we read them.",
        (
            "Checkpoint",
            "Questions of",
            "Read by",
            "Right",
            "Counted",
            "Left out",
            "Unread",
            "Guessed",
            "Right unread",
            "For a judge",
            "Gained",
            "Lost",
        ),
        [
            (
                row.run,
                row.source,
                row.protocol,
                estimate(row.per_question),
                *map(count, (row.n_questions, row.n_left_out, row.n_unread, row.n_guessed)),
                *map(count, (row.n_right_unread, row.n_for_a_judge, row.n_gained, row.n_lost)),
            )
            for each in readings
            for row in scores(each)
        ],
    )


def disagreements_table(readings: Sequence[Readings]) -> Table:
    """Some of the replies that protocols score differently, evenly picked, with what each makes of them."""
    found = disagreements(readings)
    shown = found if len(found) <= MOST else [found[i * len(found) // MOST] for i in range(MOST)]
    names = list(dict.fromkeys(name for each in readings for name in each.by))
    some = f"{count(len(shown))} of {count(len(found))} replies" if len(shown) < len(found) else "The replies"
    return Table(
        "disagreements",
        f"{some} that protocols score differently: the answer that each reads, + where it counts as right, \u2212 where as "
        "wrong; in brackets, why, where no answer was simply read.",
        ("Checkpoint", "Question", "Correct", "End of the reply", *names),
        [_row(one, names) for one in shown],
    )


def _row(one: Disagreement, names: Sequence[str]) -> tuple[str, ...]:
    reply = " ".join(one.reply.split())
    end = reply if len(reply) <= _END else f"\u2026{reply[-_END:]}"
    cells = [_cell(one.by[name]) if name in one.by else "" for name in names]
    return (one.run, one.question.question_id, ",".join(one.question.gold) or "none", end or "(empty)", *cells)


def _cell(reading: Reading) -> str:
    said = "?" if reading.chosen is None else ",".join(reading.chosen) or "none"
    mark = ("+" if reading.right else "\u2212") if reading.counted else ""
    why = f" ({reading.why})" if reading.why else ""
    return f"{said} {mark}{why}".replace("  ", " ")
