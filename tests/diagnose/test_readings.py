"""One set of replies under every protocol, and scores that are more than whether the answer is gold."""

import json
from pathlib import Path

import msgspec
import pytest
from curated_factory import a_choice, write_unlabelled
from typer.testing import CliRunner, Result

from videothinker import store
from videothinker.cli import app
from videothinker.curated import NO_LABELS, Curated, open_curated
from videothinker.diagnose import metrics, run
from videothinker.diagnose.answerer import RawReply
from videothinker.diagnose.compare import Answers, compare
from videothinker.diagnose.protocols import PROTOCOLS, find, ours
from videothinker.diagnose.readings import disagreements, read_by_all, scores
from videothinker.errors import VtError
from videothinker.records import Form, Manifest, Metrics, Prediction, ProtocolScore, Question, ReadBy, RunRecord, Status


def mvbench(number: int, gold: str) -> Question:
    plain = a_choice(str(number), gold=gold, group=f"clip {number // 2}")
    return msgspec.structs.replace(plain, source="MVBench", options=("a cube", "a ball", "an owl", "sand"))


QUESTIONS = [mvbench(number, gold) for number, gold in enumerate("BBBCCB")]
REPLIES = ["<answer>B</answer>", "", "(B) a ball", "I see a hand, so C", "Option C", "no idea"]


def graded(protocol: str, replies: list[str] = REPLIES, questions: list[Question] = QUESTIONS) -> list[Prediction]:
    pairs = zip(questions, replies, strict=True)
    return [
        run.grade(question, RawReply(question_id=question.question_id, reply=reply), NO_LABELS, find(protocol), 42)
        for question, reply in pairs
    ]


def by_protocol() -> dict[str, ReadBy]:
    (readings,) = read_by_all("m", QUESTIONS, graded("ours"), 42)
    return {row.protocol: row for row in scores(readings)}


def test_replies_that_answer_twice_keep_both_answers_and_other_styles_neither() -> None:
    replies = [r"\boxed{B}<think>so</think>\boxed{C}", r"\boxed{B}", r"\boxed{B}<think>so"]
    rows = [
        run.grade(question, RawReply(question_id=question.question_id, reply=reply), NO_LABELS, ours.TWICE)
        for question, reply in zip(QUESTIONS[:3], replies, strict=True)
    ]
    assert [(row.chosen, row.first, row.second, row.status) for row in rows] == [
        (("C",), ("B",), ("C",), Status.OK),
        (("B",), ("B",), ("B",), Status.OK),
        (None, ("B",), None, Status.NO_ANSWER),
    ]
    (plain,) = graded("ours", replies[:1], QUESTIONS[:1])
    assert plain.first is plain.second is msgspec.UNSET
    assert b"first" not in msgspec.json.encode(plain)


def test_what_reading_alone_does_to_six_replies() -> None:
    found = by_protocol()
    assert list(found) == list(PROTOCOLS)
    right = {name: (round((row.per_question.value or 0) * row.n_questions), row.n_questions) for name, row in found.items()}
    assert right == {
        "ours": (3, 6),  # the tag, "(B) a ball" and "Option C"
        "official": (2, 6),  # the empty reply and "(B) a ball"
        "videothinker": (1, 6),
        "video-r1": (1, 6),
        "videoauto-r1": (3, 5),  # without the empty reply; "a hand" is A
        "lmms-eval": (3, 5),
        "vlmevalkit": (4, 6),  # "C" among the last words, and the empty reply, but not the tag
    }
    official, lmms = found["official"], found["lmms-eval"]
    assert (official.n_right_unread, official.n_gained, official.n_lost) == (1, 1, 2)
    assert (lmms.n_left_out, lmms.n_guessed, lmms.n_gained, lmms.n_lost) == (1, 0, 0, 0)
    assert all(row.per_question.ci95 is not None for row in found.values())


def test_replies_that_change_are_listed_with_every_reading() -> None:
    readings = read_by_all("m", QUESTIONS, graded("ours"), 42)
    found = {one.question.question_id: one.by for one in disagreements(readings)}
    assert set(found) == {"0", "1", "2", "3", "4"}, "nobody reads the last one"
    assert found["3"]["lmms-eval"].chosen == ("A",)
    assert found["3"]["vlmevalkit"].right


def test_a_prediction_says_more_than_its_letters_only_where_it_has_to() -> None:
    ours, official, lmms = graded("ours"), graded("official"), graded("lmms-eval")
    assert all("scored" not in json.loads(msgspec.json.encode(row)) for row in ours)
    assert official[1].scored == ProtocolScore(right=True, why="empty counts as right")
    assert (official[1].chosen, official[1].status) == (None, Status.NO_ANSWER)
    assert lmms[1].scored == ProtocolScore(right=False, counted=False, why="unread, left out")
    again = msgspec.json.decode(msgspec.json.encode(official[1]), type=Prediction)
    assert again == official[1]
    assert msgspec.json.decode(msgspec.json.encode(ours[0]), type=Prediction) == ours[0]


def test_metrics_and_comparisons_follow_the_protocol() -> None:
    official = metrics.summarize(QUESTIONS, graded("official"), NO_LABELS)
    assert official.all.per_question.value == pytest.approx(2 / 6)
    lmms = metrics.summarize(QUESTIONS, graded("lmms-eval"), NO_LABELS)
    assert (lmms.all.n_questions, lmms.all.n_decode_error, lmms.all.per_question.value) == (5, 0, pytest.approx(3 / 5))
    sides = [Answers(name, QUESTIONS, graded(name), NO_LABELS) for name in ("official", "lmms-eval")]
    (row,) = [row for row in compare(sides) if row.measure == "all"]
    assert (row.n_questions, row.n_gained, row.n_lost) == (5, 2, 0)  # both questions that only "official" misreads


def test_a_guess_counts_as_it_falls() -> None:
    holmes = [msgspec.structs.replace(question, source="Video-Holmes") for question in QUESTIONS]
    rows = graded("lmms-eval", [""] * 6, holmes)
    assert {row.scored.why for row in rows if row.scored} == {"guessed"}
    n_right = sum(row.chosen == row.gold for row in rows)
    assert metrics.summarize(holmes, rows, NO_LABELS).all.per_question.value == pytest.approx(n_right / 6)


# ---- from the command line ------------------------------------------------------------------------------------------------


@pytest.fixture
def curated(tmp_path: Path) -> Curated:
    return write_unlabelled(tmp_path / "mvbench", {"test": QUESTIONS})


def vt(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    path = tmp_path / "output.json"
    store.write_json(path, [{"question_id": str(i), "output": reply} for i, reply in enumerate(REPLIES)])
    return path


def test_saved_replies_are_read_again_by_a_protocol(curated: Curated, results: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    result = vt("report", "--import", f"m={results}", "--data", curated.folder, "--out", out, "--protocol", "vlmevalkit")
    assert result.exit_code == 0
    found = store.read_json(out / "m" / "metrics.json", Metrics)
    assert found.all.per_question.value == pytest.approx(4 / 6)
    text = (out / "report.md").read_text()
    assert "read by the protocol vlmevalkit" in text
    assert "One set of replies, read in different ways" in text
    assert "| m | official | 33.3" in text
    assert "? + (empty counts as right)" in text
    rows = [line.split() for line in result.stdout.splitlines() if line.split()[:2] == ["m", "MVBench"]]
    assert [row[2] for row in rows] == [
        "ours",
        "official",
        "videothinker",
        "video-r1",
        "videoauto-r1",
        "lmms-eval",
        "vlmevalkit",
    ]
    plain = vt("report", "--import", f"m={results}", "--data", curated.folder, "--out", out)
    assert "lmms-eval" not in plain.stdout
    assert store.read_json(out / "m" / "metrics.json", Metrics).all.per_question.value == pytest.approx(3 / 6)


@pytest.mark.parametrize(
    ("protocol", "message"),
    [("mine", "--protocol mine: is none; expected one of ours,"), ("official", "does not say how another")],
)
def test_a_protocol_that_cannot_be_is_one_line(protocol: str, message: str, tmp_path: Path) -> None:
    folder = write_unlabelled(tmp_path / "other", {"test": [a_choice("1")]}).folder
    with pytest.raises(VtError, match=message):
        vt("diagnose", "--data", folder, "--model", "solver:gold", "--protocol", protocol, "--out", tmp_path / "runs")


def test_solvers_reply_in_our_form_whatever_the_protocol(curated: Curated, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    result = vt("diagnose", "--data", curated.folder, "--model", "solver:gold", "--protocol", "official", "--out", out)
    assert result.exit_code == 0
    assert store.read_json(out / "gold" / "metrics.json", Metrics).all.per_question.value == 1.0
    assert "protocol official sets prompt its own, frame rule midpoints, frames 16" in result.stderr


def test_a_checkpoint_is_asked_and_read_by_a_protocol(taught: Path, colours: Curated, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    asked = ("diagnose", "--data", colours.folder, "--model", f"m={taught}", "--out", out, "--protocol", "videothinker")
    result = vt(*asked, "--max-new-tokens", "20", "--engine", "transformers", "--no-clip-cache")
    assert result.exit_code == 0
    assert "temperature 0.01, top p 0.001; overridden: max new tokens" in result.stderr
    record = store.read_json(out / "m" / "run.json", RunRecord)
    settings = {name: record.settings[name] for name in ("protocol", "prompt", "top_p", "fps", "max_new_tokens", "n_frames")}
    assert settings == {
        "protocol": "videothinker",
        "prompt": None,
        "top_p": 0.001,
        "fps": 2.0,
        "max_new_tokens": 20,
        "n_frames": 32,
    }
    assert record.fed is not None
    assert {kind["frames"] for kind in record.fed["fed"]} == {4}  # 1.28 s at 2 a second, and 4 at least
    assert "was asked under the protocol videothinker" in (out / "report.md").read_text()
    again = vt(*asked, "--max-new-tokens", "20")
    assert "6 of 6 questions are answered already" in again.stderr
    with pytest.raises(VtError, match=r"settings\.max_new_tokens was 20, is 1024"):
        vt(*asked)


@pytest.fixture
def squares(colours: Curated, tmp_path: Path) -> Curated:
    """The folder of colours as if it were MVBench's: single choices about the same clips."""
    asked = [question for question in colours.questions("dev") if len(question.gold) == 1]
    asked = [msgspec.structs.replace(one, source="MVBench", form=Form.CHOICE, facets={}) for one in asked]
    folder = write_unlabelled(tmp_path / "squares", {"test": asked}).folder
    told = store.read_json(folder / "manifest.json", Manifest)
    store.write_json(folder / "manifest.json", msgspec.structs.replace(told, videos_root=str(colours.videos_root)))
    return open_curated(folder)


def test_a_begun_reply_reaches_both_engines_and_its_bracket_is_read(taught: Path, squares: Curated, tmp_path: Path) -> None:
    for engine in ("transformers", "graphs"):
        asked = ("diagnose", "--data", squares.folder, "--model", f"{engine}={taught}", "--out", tmp_path / "runs")
        more = ("--engine", engine, "--max-new-tokens", "12", "--no-clip-cache", "--dtype", "float32", "--no-report")
        assert vt(*asked, *more, "--protocol", "official").exit_code == 0
    files = [tmp_path / "runs" / engine / "predictions.jsonl" for engine in ("transformers", "graphs")]
    first, second = (list(store.read_jsonl(path, Prediction)) for path in files)
    assert len(first) == 3
    assert [row.reply for row in first] == [row.reply for row in second]
    assert not any("Best option" in row.reply for row in first), "what was begun is not part of the reply"


def test_a_run_from_before_protocols_is_resumed(curated: Curated, tmp_path: Path) -> None:
    asked = ("diagnose", "--data", curated.folder, "--model", "solver:gold", "--out", tmp_path / "runs")
    vt(*asked)
    path = tmp_path / "runs" / "gold" / "run.json"
    record = json.loads(path.read_text())
    for name in ("protocol", "top_p", "frame_rule", "fps"):
        del record["settings"][name]
    path.write_text(json.dumps(record))
    assert "answered already" in vt(*asked).stderr


def test_protocols_are_listed_with_their_faults() -> None:
    result = vt("diagnose", "--list-protocols")
    assert result.exit_code == 0
    assert "lmms-eval 0.7.2 at 75571cf" in result.stdout
    assert "MVBench: an empty reply is right" in result.stdout
