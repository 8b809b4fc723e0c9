"""What thinking is worth, and where a run could have stopped: by hand, on six questions about three scenes."""

from collections.abc import Sequence

import msgspec
import pytest
from curated_factory import a_question, labels_of, questions_of

from videothinker.diagnose.metrics import summarize
from videothinker.diagnose.runs import Run, scored
from videothinker.diagnose.stop_saved import pairs, saved
from videothinker.diagnose.stop_sweep import sweep
from videothinker.errors import VtError
from videothinker.records import Category, Prediction, RunRecord, Status
from videothinker.reports.twice import twice_tables

SEEN = Category.OBSERVATIONAL
NEEDED = Category.INFERENTIAL
ASKED = [a_question(f"{scene}:{n}", gold="A", oracle=(SEEN, NEEDED)[n]) for scene in range(3) for n in (0, 1)]
"""In every scene the first question is observational and the second inferential; all are answered by A."""

SAID = [
    # first, second, confidence, tokens up to the first, tokens
    ("A", "A", 0.99, 5, 45),
    ("B", "A", 0.50, 5, 45),
    ("A", "A", 0.95, 5, 25),
    ("B", "A", 0.60, 5, 25),
    ("A", "B", 0.90, 5, 25),
    (None, "A", None, None, 15),  # the fallback sentence
]


def reply(number: int) -> Prediction:
    first, second, confidence, first_tokens, tokens = SAID[number]
    given = {} if confidence is None else {"confidence": confidence, "first_tokens": first_tokens}
    return Prediction(
        question_id=ASKED[number].question.question_id,
        reply=f"\\boxed{{{first}}}<think>so</think>\\boxed{{{second}}}",
        chosen=(second,),
        gold=("A",),
        observer=None,
        status=Status.OK,
        tokens=tokens,
        first=None if first is None else (first,),
        second=(second,),
        **given,
    )


def a_run(rows: Sequence[Prediction], **settings: object) -> Run:
    record = RunRecord(name="m", model="runs/a b", kind="checkpoint", settings={"split": "dev", "prompt": "twice", **settings})
    return scored("m", record, questions_of(ASKED), list(rows), labels_of(ASKED), folder=None)


ROWS = [reply(number) for number in range(6)]


def test_both_answers_by_category() -> None:
    twice = a_run(ROWS).metrics.twice
    assert twice is not msgspec.UNSET
    assert list(twice) == ["all", "observational", "inferential"]
    found = {
        kind: tuple(
            None if part.value is None else round(part.value, 6)
            for part in (one.first, one.second, one.think_helps, one.fix_rate, one.break_rate, one.thinking_ratio, one.stopped)
        )
        for kind, one in twice.items()
    }
    assert found == {
        "all": (0.5, 0.833333, 0.333333, 1.0, 0.333333, 1.0, 0.0),
        "observational": (1.0, 0.666667, -0.333333, None, 0.333333, 1.0, 0.0),
        "inferential": (0.0, 1.0, 1.0, 1.0, None, 1.0, 0.0),
    }
    assert [one.mean_tokens for one in twice.values()] == pytest.approx([30, 95 / 3, 85 / 3])
    # By scene +1, +1 and 0 (one broken, one answered that fell back): both that changed with one sign, 2 of 4 ways.
    assert (twice["all"].p_value, twice["all"].n_scenes) == (0.5, 3)


def test_a_stopped_reply_does_not_think_and_tokens_are_those_written() -> None:
    cut = msgspec.structs.replace(ROWS[0], reply="\\boxed{A}", tokens=5, stopped=True)
    twice = a_run([cut, *ROWS[1:]], stop_at=0.97).metrics.twice
    assert twice is not msgspec.UNSET
    assert twice["all"].thinking_ratio.value == pytest.approx(5 / 6)
    assert twice["all"].stopped.value == pytest.approx(1 / 6)
    assert twice["all"].mean_tokens == pytest.approx((180 - 40) / 6)


def timed(run: Run, name: str, seconds: float, **fed: object) -> Run:
    """The run under another name, as if its replies had taken so long on a device."""
    told = {"device": "a card", "batch_size": 8, "seconds": {"generate": seconds}, **fed}
    return run._replace(name=name, record=msgspec.structs.replace(run.record, name=name, fed=told))


def test_a_run_with_a_stop_beside_the_same_without_by_hand() -> None:
    """The second reply is stopped at a wrong first answer, the first and third at right ones: one of six changes."""
    cut = [
        msgspec.structs.replace(
            row, reply=row.reply.partition("<")[0], chosen=row.first, second=row.first, tokens=5, stopped=True
        )
        for row in ROWS[:3]
    ]
    whole = timed(a_run(ROWS), "whole", 9.0)
    stopped = timed(a_run([*cut, *ROWS[3:]], stop_at=0.5), "stopped", 6.0)
    other = timed(a_run([*cut, *ROWS[3:]], stop_at=0.5, seed=7), "other", 6.0)
    assert pairs([other]) == pairs([whole, other]) == pairs([stopped]) == []
    (pair,) = pairs([stopped, other, whole])
    assert (pair.whole.name, pair.stopped.name, pair.seconds) == ("whole", "stopped", (9.0, 6.0))
    assert pair._replace(whole=timed(whole, "whole", 9.0, batch_size=4)).seconds is None
    by = saved(pair)
    found = {name: [round(part.value or 0, 6) for part in (one.whole, one.stopped, one.change)] for name, one in by.items()}
    assert found == {
        "all": [0.833333, 0.666667, -0.166667],
        "observational": [0.666667, 0.666667, 0.0],
        "inferential": [1.0, 0.666667, -0.333333],
    }
    # 180 tokens without; with the stop 15 of the three and 25, 25, 15 of the others.
    assert by["all"].tokens == (30.0, pytest.approx(80 / 6))
    assert (by["all"].n_questions, by["inferential"].n_questions, by["all"].n_scenes) == (6, 3, 3)
    table = twice_tables([stopped, whole], "clip")[2]
    assert (table.rows[0][:4], table.rows[0][7:]) == (
        ("stopped", "whole", "all", "6"),
        ("30.0 to 13.3 (\u221255.6 %)", "1.50 x", "0.67 to 1.00"),
    )
    assert [row[8:] for row in table.rows[1:]] == [("\u2013", "\u2013")] * 2


def test_other_styles_have_no_first_answer_to_count() -> None:
    rows = [msgspec.structs.replace(row, first=msgspec.UNSET, second=msgspec.UNSET) for row in ROWS]
    metrics = summarize(questions_of(ASKED), rows, labels_of(ASKED))
    assert b"twice" not in msgspec.json.encode(metrics)
    with pytest.raises(VtError, match="m was not asked to answer twice"):
        sweep(a_run(rows))


def test_every_stop_by_hand() -> None:
    found = sweep(a_run(ROWS))
    points = [(one.stop_at, one.mean_tokens, one.accuracy.value) for one in found.points]
    # Tokens 180 in all; stops save 40, 20, 20, 20 and 40, from the surest on. The third makes one right that thinking breaks,
    # the fourth and fifth leave wrong what thinking would fix.
    assert points == [
        (0.5, pytest.approx(40 / 6), pytest.approx(4 / 6)),
        (0.6, pytest.approx(80 / 6), pytest.approx(5 / 6)),
        (0.9, pytest.approx(100 / 6), 1.0),
        (0.95, pytest.approx(120 / 6), pytest.approx(5 / 6)),
        (0.99, pytest.approx(140 / 6), pytest.approx(5 / 6)),
        (None, pytest.approx(180 / 6), pytest.approx(5 / 6)),
    ]
    assert found.best.stop_at == 0.9
    assert [one.accuracy.value for one in found.by_category["inferential"]] == pytest.approx([1 / 3, 1.0, 1.0])
    assert [one.stopped for one in found.by_category["observational"]] == pytest.approx([1, 1, 0])
    assert "--model 'm=runs/a b' --prompt twice --stop-at 0.9 --out" in found.confirm


def test_the_best_stop_takes_the_fewest_tokens_within_a_standard_error() -> None:
    """Where thinking changes nothing, it is the one that stops everything that can be stopped."""
    same = [msgspec.structs.replace(row, chosen=row.first, second=row.first) for row in ROWS]
    assert sweep(a_run(same)).best.stop_at == 0.5


@pytest.mark.parametrize(
    ("rows", "settings", "expected"),
    [
        (ROWS, {"stop_at": 0.9}, "m was stopped at 0.9"),
        ([msgspec.structs.replace(row, confidence=msgspec.UNSET) for row in ROWS], {}, "no reply of m says how sure"),
        (
            [msgspec.structs.replace(row, first=None) for row in ROWS],
            {},
            "no reply of m begins with an answer that could be read",
        ),
        ([msgspec.structs.replace(row, tokens=None) for row in ROWS], {}, "how many tokens its reply to 0:0 has"),
    ],
)
def test_what_cannot_be_swept_is_refused(rows: list[Prediction], settings: dict[str, float], expected: str) -> None:
    with pytest.raises(VtError, match=expected):
        sweep(a_run(rows, **settings))
