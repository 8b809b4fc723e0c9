"""Damaged clips: each view is a run of its own, and what it changes is paired with the clip as it is.

A stand-in that answers by a rule stands for checkpoints, so every share is known beforehand.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from curated_factory import a_choice, a_question, write_curated, write_unlabelled
from diagnose.fake_server import serving
from PIL import Image
from typer.testing import CliRunner
from vt_command import one_error, vt

from videothinker import answers, locks, store
from videothinker.cli import app
from videothinker.curated import Curated
from videothinker.damage import Damage
from videothinker.diagnose import run, runs, view_runs
from videothinker.diagnose.answerer import RawReply
from videothinker.diagnose.estimates import clustered_change, clustered_share
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.diagnose.view_effects import RIGHT
from videothinker.diagnose.views import OF_CLIPS, VIEWS, chosen_views, damaging_views
from videothinker.errors import VtError
from videothinker.recipes import diagnosis
from videothinker.records import Question, Summary, ViewEffects
from videothinker.records.question import Clip

HIT = "The gray cube and the brown cube collide"
MISS = "The gray cube and the red cube collide"
Rule = Callable[[Damage | None, Question], str | None]
"""What the stand-in answers to a question with the clip so damaged: letters, or None for no readable answer."""


class StandIn:
    """Answers by a rule, and stops after so many questions if that is wanted."""

    def __init__(self, rule: Rule, stop_after: int | None = None) -> None:
        self.rule, self.stop_after = rule, stop_after
        self.asked: list[tuple[str | None, str]] = []

    def open(self, job: run.Job) -> "StandIn":
        self.job = job
        return self

    def answer(self, questions: Sequence[Question]) -> Iterator[RawReply]:
        for question in questions:
            if self.stop_after is not None and len(self.asked) >= self.stop_after:
                raise KeyboardInterrupt
            self.asked.append((self.job.view, question.question_id))
            said = self.rule(self.job.settings.damage, question)
            reply = "I cannot tell." if said is None else answers.form_of(question).solution(tuple(said))
            yield RawReply(question_id=question.question_id, reply=reply)

    def describe(self) -> dict[str, Any]:
        return {}


def jobs_of(curated: Curated, out: Path, views: str, models: Sequence[str] = ("m",)) -> list[run.Job]:
    settings = DiagnosisSettings(split="dev", n_frames=4)
    planned = run.plan({ref.partition(":")[0]: ref for ref in models}, curated, settings, out, endpoints=["http://x/v1"])
    return view_runs.plan(planned, damaging_views(views))


def effects_of(curated: Curated, out: Path) -> ViewEffects:
    return view_runs.effects(runs.load_runs([out], curated), curated)


def ask(curated: Curated, out: Path, views: str, rule: Rule) -> ViewEffects:
    run.diagnose(jobs_of(curated, out, views), StandIn(rule).open)
    return effects_of(curated, out)


def eight(folder: Path) -> Curated:
    """Eight questions about four clips, right is A; two of the clips' four questions are inferential."""
    asked = [a_question(f"{scene}:{qid}", gold="A", observer="B" if scene < 2 else "A") for scene in range(4) for qid in (0, 1)]
    return write_curated(folder, {"dev": asked})


def test_blind_loses_exactly_half_and_the_interval_is_that_of_the_pairs(tmp_path: Path) -> None:
    curated = eight(tmp_path / "data")
    found = ask(curated, tmp_path / "out", "blind", lambda damage, q: "A" if damage is None or q.question_id < "2" else "B")
    (effect,) = found.views
    rows = effect.by_category
    lost, scene = np.array([0.0] * 4 + [1.0] * 4), np.array([0, 0, 1, 1, 2, 2, 3, 3])
    assert (effect.run, effect.view, effect.axis, effect.n_left_out) == ("m", "blind", "language", 0)
    assert (rows["all"].normal.value, rows["all"].under.value, rows["all"].gap.value) == (1, 0.5, 0.5)
    assert rows["all"].gap == clustered_change(lost, np.ones(8), scene)
    assert rows["all"].changed == clustered_share(lost, np.ones(8), scene)
    assert (rows["all"].n_questions, rows["all"].n_groups) == (8, 4)
    assert list(rows) == ["all", "observational", "inferential"]
    assert (rows["observational"].gap.value, rows["inferential"].gap.value) == (1, 0)
    assert found.evidence == []


def test_no_readable_answer_differs_from_every_answer_and_not_from_itself(tmp_path: Path) -> None:
    said = {None: [None, None, "", "", "AB", "A", "A", "A"], Damage.MIRRORED: [None, "", None, "", "BA", "A", "B", "A"]}
    curated = eight(tmp_path / "data")
    place = {question.question_id: at for at, question in enumerate(curated.questions("dev"))}
    found = ask(curated, tmp_path / "out", "mirrored", lambda damage, q: said[damage][place[q.question_id]])
    row = found.views[0].by_category["all"]
    assert (row.changed.value, row.n_unread) == (3 / 8, 2)


def with_evidence(folder: Path) -> Curated:
    """Four questions, one a clip, of which the last names no collision of the log."""
    asked = [a_question(f"{scene}:0", gold="A", options=[HIT if scene < 3 else MISS, MISS]) for scene in range(4)]
    return write_curated(folder, {"dev": asked})


def test_hiding_the_evidence_changes_two_answers_of_three_and_elsewhere_one(tmp_path: Path) -> None:
    moved = {Damage.EVIDENCE: {"0:0", "1:0"}, Damage.ELSEWHERE: {"0:0"}, None: {"2:0"}}
    curated = with_evidence(tmp_path / "data")
    stand_in = StandIn(lambda damage, q: "B" if q.question_id in moved[damage] | {"2:0"} else "A")
    run.diagnose(jobs_of(curated, tmp_path / "out", "evidence,elsewhere"), stand_in.open)
    (effect,) = effects_of(curated, tmp_path / "out").evidence
    every, right = effect.by_category["all"], effect.by_category[RIGHT]
    scene = np.arange(3)
    assert (every.evidence.value, every.elsewhere.value) == (2 / 3, 1 / 3)
    assert every.difference == clustered_change(np.array([0.0, 1.0, 0.0]), np.ones(3), scene)
    assert (right.n_questions, right.evidence.value, right.elsewhere.value) == (2, 1.0, 0.5)  # 2:0 is wrong as it is
    assert (effect.n_without, every.n_unread) == (1, (0, 0))
    assert {name for view, name in stand_in.asked if view == "evidence"} == {"0:0", "1:0", "2:0"}


def test_a_killed_view_goes_on_and_is_no_checkpoint(tmp_path: Path) -> None:
    curated, out = eight(tmp_path / "data"), tmp_path / "out"
    killed = StandIn(lambda _, q: "A", stop_after=11)
    with pytest.raises(KeyboardInterrupt):
        run.diagnose(jobs_of(curated, out, "blind,shuffled"), killed.open)
    again = StandIn(lambda _, q: "A")
    run.diagnose(jobs_of(curated, out, "blind,shuffled"), again.open)
    assert [view for view, _ in killed.asked + again.asked] == [None] * 8 + ["blind"] * 8 + ["shuffled"] * 8
    assert runs.run_folders([out]) == [out / "m"]
    assert sorted(path.parent.name for path in out.glob("m/views/*/metrics.json")) == ["blind", "shuffled"]
    assert store.read_json(out / "m/views/blind/run.json", dict[str, Any])["settings"]["damage"] == "blank"
    third = StandIn(lambda _, q: "A")
    run.diagnose(jobs_of(curated, out, "blind,shuffled"), third.open)
    assert third.asked == []


def test_questions_that_say_left_or_right_are_not_asked_mirrored_and_are_counted(tmp_path: Path) -> None:
    asked = [a_choice(f"q{number}") for number in range(3)]
    sided = Question(**{name: getattr(asked[0], name) for name in asked[0].__struct_fields__} | {"text": "Which is LEFTMOST?"})
    curated = write_unlabelled(tmp_path / "data", {"dev": [sided, *asked[1:]]})
    (effect,) = ask(curated, tmp_path / "out", "mirrored", lambda _, q: "A").views
    assert effect.n_left_out == 1
    assert {kind: row.n_questions for kind, row in effect.by_category.items()} == {"all": 2}
    assert view_runs.concerns(VIEWS["blind"], sided, curated)


def test_a_question_without_a_clip_is_asked_under_no_view_that_changes_nothing_of_it(tmp_path: Path) -> None:
    seen = a_choice("q0")
    words = Question(**{name: getattr(seen, name) for name in seen.__struct_fields__} | {"question_id": "q1", "clip": None})
    image = Question(
        **{name: getattr(seen, name) for name in seen.__struct_fields__} | {"question_id": "q2", "clip": Clip(path="a.png")}
    )
    curated = write_unlabelled(tmp_path / "data", {"dev": [seen, words, image]})
    asked = {name: [view_runs.concerns(VIEWS[name], one, curated) for one in (seen, words, image)] for name in OF_CLIPS}
    assert asked["blind"] == asked["mirrored"] == [True, False, True]
    assert asked["frozen"] == asked["shuffled"] == asked["reversed"] == [True, False, False]


def test_the_report_and_its_summary_hold_what_was_found(tmp_path: Path) -> None:
    curated, out = with_evidence(tmp_path / "data"), tmp_path / "out"
    run.diagnose(jobs_of(curated, out, "blind,evidence,elsewhere"), StandIn(lambda _, q: "A").open)
    report = diagnosis.report(runs.load_runs([out], curated), curated, out)
    assert store.read_json(out / "summary.json", Summary).views == report.views
    page, text = (out / "report.html").read_text(), (out / "report.md").read_text()
    assert "With damaged clips" in page
    assert "VideoThinker-R1-3B (published)" in text
    assert "100.0" in text.split("## With damaged clips")[1]


def test_replies_under_a_view_are_read_anew_with_the_others_and_counted(tmp_path: Path) -> None:
    curated, out = eight(tmp_path / "data"), tmp_path / "out"
    ask(curated, out, "blind", lambda damage, q: "A" if damage is None else "B")
    path = out / "m/views/blind/predictions.jsonl"
    saved = path.read_text()
    assert saved.count('"chosen":["B"]') == 8
    path.write_text(saved.replace('"chosen":["B"]', '"chosen":["A"]'))  # as if an older version had read every B as A
    gaps = []
    for extra in ([], ["--reread"]):
        result = CliRunner().invoke(app, ["report", str(out), "--out", str(tmp_path / "again"), *extra], catch_exceptions=False)
        assert ("8 replies are read differently by this version" in result.stderr) is not bool(extra)
        (effect,) = store.read_json(tmp_path / "again/summary.json", Summary).views.views
        gaps.append((effect.by_category["all"].under.value, effect.by_category["all"].changed.value))
    assert gaps == [(1.0, 0.0), (0.0, 1.0)]


def test_a_run_without_views_has_no_such_section(tmp_path: Path) -> None:
    curated, out = eight(tmp_path / "data"), tmp_path / "out"
    run.diagnose(run.plan({"gold": "solver:gold"}, curated, DiagnosisSettings(split="dev"), out), run.open_answerer)
    diagnosis.report(runs.load_runs([out], curated), curated, out)
    assert "With damaged clips" not in (out / "report.html").read_text() + (out / "report.md").read_text()


def test_a_view_that_was_asked_otherwise_is_refused(tmp_path: Path) -> None:
    curated, out = eight(tmp_path / "data"), tmp_path / "out"
    ask(curated, out, "blind", lambda _, q: "A")
    path = out / "m/views/blind/run.json"
    said = store.read_json(path, dict[str, Any])
    store.write_json(path, said | {"settings": said["settings"] | {"n_frames": 8}})
    with pytest.raises(VtError, match=r"m/views/blind: was asked otherwise than .*out/m \(n_frames differ\)"):
        effects_of(curated, out)


def test_solvers_see_no_clip(tmp_path: Path) -> None:
    curated, told = eight(tmp_path / "data"), list[str]()
    settings = DiagnosisSettings(split="dev", n_frames=4)
    planned = run.plan({"gold": "solver:gold", "m": "m"}, curated, settings, tmp_path / "out", endpoints=["http://x/v1"])
    jobs = view_runs.plan(planned, damaging_views("blind"), warn=told.append)
    assert [(job.record.name, job.view) for job in jobs] == [("gold", None), ("m", None), ("m", "blind")]
    assert told == ["gold: built-in solvers see no clip, so they are asked without --views"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--model", "solver:gold", "--views", "blind"], "gold is a built-in solver, which sees no clip"),
        (["--model", "solver:gold", "--views", "blind", "--shard", "1/2"], "is not asked in shards"),
        (["--model", "solver:gold", "--views", "blurred"], "--views blurred: there is no such view"),
        (["--model", "solver:gold", "--views", "twin"], "is a view of `vt curate probe` alone"),
        (["--model", "solver:gold", "--views", "evidence"], "evidence and elsewhere are read against each other"),
        (["--model", "solver:gold", "--views", "blind,blind"], "names a view twice"),
        (["--model", "solver:gold", "--views", "normal"], "names no view"),
    ],
)
def test_what_cannot_be_asked_is_one_line(
    tmp_path: Path, options: Sequence[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    eight(tmp_path / "data")
    assert vt("diagnose", "--data", tmp_path / "data", "--out", tmp_path / "out", *options) == 2
    assert told in one_error(capsys)
    assert not (tmp_path / "out" / "gold" / "run.json").exists()


def test_without_logs_evidence_is_refused_and_nothing_stays_locked(tmp_path: Path) -> None:
    curated = write_unlabelled(tmp_path / "data", {"dev": [a_choice("q")]})
    with pytest.raises(VtError, match=r"has no collision log that shows where the evidence of a question is; leave them out"):
        jobs_of(curated, tmp_path / "out", "evidence,elsewhere")
    assert not locks.holds(tmp_path / "out" / "m")


def test_a_probe_is_not_asked_with_masks() -> None:
    with pytest.raises(VtError, match="--views evidence: there is no such view of a probe"):
        chosen_views("normal,evidence", "")


def test_the_terminal_has_the_table_of_views_of_one_data_set_and_of_several(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (84, 56)).save(tmp_path / "a.png")
    for name in ("one", "two"):
        asked = [msgspec.structs.replace(a_choice(f"{name}{n}"), clip=Clip(path="a.png")) for n in range(2)]
        write_unlabelled(tmp_path / name, {"dev": asked})
    options = ("--model", "m=served", "--views", "blind", "--frames", "4", "--send", "images", "--videos", tmp_path)
    sets = [("--data", tmp_path / name) for name in ("one", "two")]

    def rows(*command: str | Path) -> list[list[str]]:
        """The lines of the table of views, without its head."""
        assert vt(*command) == 0
        return [
            cells[: cells.index("language") + 1]
            for line in capsys.readouterr().out.splitlines()
            if "language" in (cells := line.split())
        ]

    with serving() as server:
        first = rows("diagnose", *sets[0], *options, "--endpoint", server.url, "--out", tmp_path / "single")
        both = rows("diagnose", *sets[0], *sets[1], *options, "--endpoint", server.url, "--out", tmp_path / "both")
    assert first == [["m", "blind", "language"]]
    assert both == [["one", *first[0]], ["two", *first[0]]]
    assert rows("report", tmp_path / "single", "--out", tmp_path / "again") == first
    assert rows("report", tmp_path / "both", "--out", tmp_path / "again-both") == both
