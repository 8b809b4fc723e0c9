"""Kill it anywhere, run it again: what is on disk is kept, what is missing is asked, what does not belong is refused."""

import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
from curated_factory import labels_of, random_questions, write_curated

from videothinker import answers, store
from videothinker.curated import Curated
from videothinker.diagnose import run
from videothinker.diagnose.answerer import RawReply
from videothinker.diagnose.fed import add_fed
from videothinker.diagnose.files import read_predictions
from videothinker.diagnose.openers import OPENERS, Opening
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.errors import VtError
from videothinker.records import Metrics, Prediction, Question, Rule, RunRecord, Served, Status


class Fake:
    """Replies with gold, and notes what it was asked; `lost` are questions whose clip cannot be read."""

    def __init__(self, lost: Sequence[str] = ()) -> None:
        self.asked: list[str] = []
        self.lost = lost

    def answer(self, questions: Sequence[Question]) -> Iterator[RawReply]:
        for question in reversed(questions):  # any order is allowed
            self.asked.append(question.question_id)
            if question.question_id in self.lost:
                yield RawReply(question_id=question.question_id, reply=None, error="clip is missing")
            else:
                yield RawReply(question_id=question.question_id, reply=answers.solution(question))

    def describe(self) -> dict[str, Any]:
        return {"frames": 16}


def settings(**changes: Any) -> DiagnosisSettings:
    return DiagnosisSettings(**{"split": "dev", **changes})


def ask(curated: Curated, out: Path, fake: Fake | None = None, *, model: str = "model", **options: Any) -> Fake:
    fake = fake or Fake()
    changes = {key: options.pop(key) for key in list(options) if key in DiagnosisSettings.__struct_fields__}
    jobs = run.plan({"fake": model}, curated, settings(**changes), out, **options)
    run.diagnose(jobs, lambda _: fake)
    return fake


def lines(out: Path) -> list[Prediction]:
    return store.read_jsonl(out / "fake" / run.PREDICTIONS, Prediction)


@pytest.fixture
def curated(tmp_path: Path) -> Curated:
    return write_curated(tmp_path / "curated")


def test_a_whole_run(curated: Curated, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    ask(curated, out)
    questions = curated.questions("dev")
    assert [row.question_id for row in lines(out)] == [question.question_id for question in questions]
    assert all(row.chosen == row.gold and row.status is Status.OK for row in lines(out))
    record = store.read_json(out / "fake" / run.RUN, dict[str, Any])
    assert (record["name"], record["model"], record["fed"], record["partial"]) == ("fake", "model", {"frames": 16}, None)
    assert record["settings"]["prompt"] == "cot"
    assert (record["settings"]["batch_size"], record["settings"]["engine"]) == (None, "auto")
    assert "created" in record["provenance"]
    found = store.read_json(out / "fake" / run.METRICS, Metrics)
    assert found.all.per_question.value == 1.0
    assert found.all.n_questions == len(questions)


def test_nothing_is_asked_twice_and_nothing_changes(curated: Curated, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    ask(curated, out)
    before = {path.name: path.read_bytes() for path in (out / "fake").iterdir()}
    assert ask(curated, out).asked == []
    assert {path.name: path.read_bytes() for path in (out / "fake").iterdir()} == before


def test_the_file_is_the_same_however_often_the_run_was_cut(curated: Curated, tmp_path: Path) -> None:
    ask(curated, tmp_path / "whole")
    whole = (tmp_path / "whole" / "fake" / run.PREDICTIONS).read_bytes()
    for n_bytes in (0, 1, 200, len(whole) // 2, len(whole) - 1):
        out = tmp_path / f"cut{n_bytes}"
        ask(curated, out)
        path = out / "fake" / run.PREDICTIONS
        path.write_bytes(whole[:n_bytes])
        (out / "fake" / run.METRICS).unlink()
        fake = ask(curated, out)
        assert len(fake.asked) == len(curated.questions("dev")) - whole[:n_bytes].count(b"\n"), n_bytes  # the torn line again
        assert path.read_bytes() == whole
        assert store.read_json(out / "fake" / run.METRICS, Metrics).all.n_questions == len(curated.questions("dev"))


def test_a_killed_process_goes_on_where_it_stopped(curated: Curated, tmp_path: Path) -> None:
    code = f"""
import sys, time
sys.path[:0] = {sys.path!r}
from pathlib import Path
from test_run import Fake, ask
from videothinker.curated import open_curated
class Slow(Fake):
    def answer(self, questions):
        for answer in super().answer(questions):
            time.sleep(0.05)
            yield answer
ask(open_curated(Path({str(curated.folder)!r})), Path({str(tmp_path / "runs")!r}), Slow())
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    predictions = tmp_path / "runs" / "fake" / run.PREDICTIONS
    with subprocess.Popen([sys.executable, "-c", code], env=environment) as process:
        deadline = time.monotonic() + 60
        while not (predictions.is_file() and predictions.read_bytes().count(b"\n") >= 3) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    kept = {row.question_id for row in lines(tmp_path / "runs")}
    everything = {question.question_id for question in curated.questions("dev")}
    assert 3 <= len(kept) < len(everything)
    assert not (tmp_path / "runs" / "fake" / run.METRICS).exists()
    fake = ask(curated, tmp_path / "runs")
    assert set(fake.asked) == everything - kept
    assert len(lines(tmp_path / "runs")) == len(everything)


def test_decode_errors_are_counted_and_asked_again(curated: Curated, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    lost = [question.question_id for question in curated.questions("dev")][2:4]
    ask(curated, out, Fake(lost))
    row = lines(out)[2]
    assert (row.status, row.reply, row.chosen, row.error) == (Status.DECODE_ERROR, "", None, "clip is missing")
    assert store.read_json(out / "fake" / run.METRICS, Metrics).all.n_decode_error == 2
    assert sorted(ask(curated, out, Fake(lost[:1])).asked) == sorted(lost)
    assert ask(curated, out).asked == lost[:1]
    assert [row.status for row in lines(out)] == [Status.OK] * len(curated.questions("dev"))
    assert store.read_json(out / "fake" / run.METRICS, Metrics).all.n_decode_error == 0


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"n_frames": 8}, "settings.n_frames was null, is 8"),
        ({"prompt": answers.Style.DIRECT}, 'settings.prompt was "cot", is "direct"'),
        ({"temperature": 0.5, "seed": 1}, "settings.temperature was 0.0, is 0.5; settings.seed was 42, is 1"),
        ({"model": "other"}, 'model was "model", is "other"'),
        ({"endpoints": ["http://localhost:8000/v1"]}, 'kind was "checkpoint", is "endpoint"'),
    ],
)
def test_other_settings_are_refused_by_name(curated: Curated, tmp_path: Path, changes: dict[str, Any], named: str) -> None:
    ask(curated, tmp_path / "runs")
    with pytest.raises(VtError) as error:
        ask(curated, tmp_path / "runs", **changes)
    assert named in str(error.value)
    assert "choose another --out" in str(error.value)


def test_a_run_from_before_there_were_frame_rules_goes_on_without_one_and_not_with_one(
    curated: Curated, tmp_path: Path
) -> None:
    ask(curated, tmp_path / "runs")
    path = tmp_path / "runs/fake" / run.RUN
    record = store.read_json(path, dict[str, Any])
    assert record["settings"].pop("frame_rule") is record["settings"].pop("fps") is None
    store.write_json(path, record)
    assert ask(curated, tmp_path / "runs").asked == []
    store.write_json(path, record)
    with pytest.raises(VtError, match=r'settings\.frame_rule was null, is "linspace"'):
        ask(curated, tmp_path / "runs", frame_rule="linspace")


def test_a_checkpoint_that_was_trained_again_is_refused(curated: Curated, tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    (checkpoint / "config.json").write_text("{}")
    weights = bytearray(3 * 2**20)
    (checkpoint / "model.safetensors").write_bytes(weights)
    ask(curated, tmp_path / "runs", model=str(checkpoint))
    (checkpoint / "metrics.jsonl").write_text("{}")  # beside the weights, and none of their business
    assert ask(curated, tmp_path / "runs", model=str(checkpoint)).asked == []
    weights[-1] = 1
    (checkpoint / "model.safetensors").write_bytes(weights)
    with pytest.raises(VtError, match="weights was"):
        ask(curated, tmp_path / "runs", model=str(checkpoint))


def test_a_smaller_batch_may_go_on(curated: Curated, tmp_path: Path) -> None:
    ask(curated, tmp_path / "runs")
    assert ask(curated, tmp_path / "runs", batch_size=1).asked == []


def test_other_data_is_refused_and_another_rule_is_not(curated: Curated, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    ask(curated, out)
    questions = random_questions(range(100, 106), seed=2)  # those of `curated`
    assert ask(write_curated(tmp_path / "relabelled", {"dev": questions}, rule=Rule.ANY_OPTION), out).asked == []
    other = msgspec.structs.replace(questions[0].question, text="What else?")
    with pytest.raises(VtError, match=r"data\.hash was"):
        ask(write_curated(tmp_path / "other", {"dev": [questions[0]._replace(question=other), *questions[1:]]}), out)


def test_no_resume_asks_everything_anew_and_takes_other_settings(curated: Curated, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    ask(curated, out)
    fake = ask(curated, out, resume=False, n_frames=8)
    assert len(fake.asked) == len(curated.questions("dev")) == len(lines(out))
    assert store.read_json(out / "fake" / run.RUN, dict[str, Any])["settings"]["n_frames"] == 8


def test_a_larger_limit_adds_to_a_smaller_one(curated: Curated, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    n = len(curated.questions("dev"))
    first = ask(curated, out, limit=5).asked
    assert len(first) == 5
    assert store.read_json(out / "fake" / run.RUN, dict[str, Any])["partial"] == {"asked": 5, "of": n}
    more = ask(curated, out, limit=9).asked
    assert len(more) == 4
    assert not set(first) & set(more)
    assert ask(curated, out, limit=3).asked == []
    assert store.read_json(out / "fake" / run.METRICS, Metrics).all.n_questions == 9
    assert len(ask(curated, out).asked) == n - 9
    assert store.read_json(out / "fake" / run.RUN, dict[str, Any])["partial"] is None
    with pytest.raises(VtError, match="--limit is 0"):
        ask(curated, out, limit=0)


def test_a_question_answered_twice_is_found(curated: Curated, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    ask(curated, out)
    path = out / "fake" / run.PREDICTIONS
    path.write_bytes(path.read_bytes() + path.read_bytes().splitlines(keepends=True)[1])
    with pytest.raises(VtError, match=r"predictions\.jsonl: line \d+ answers question 100:1 a second time"):
        ask(curated, out)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"question_id": "9999:0"}, "answers question 9999:0, which the curated data does not have"),
        ({"gold": ("A", "B", "C", "D")}, "question 100:0 has another gold"),
        ({"chosen": ("Z",)}, r"has 4 options, but its `chosen` is \['Z'\]"),
    ],
)
def test_predictions_that_do_not_belong_are_refused(
    curated: Curated, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    out = tmp_path / "runs"
    ask(curated, out)
    rows = lines(out)
    store.write_jsonl(out / "fake" / run.PREDICTIONS, [msgspec.structs.replace(rows[0], **changes), *rows[1:]])
    with pytest.raises(VtError, match=message):
        ask(curated, out)


def test_predictions_without_their_record_are_refused(curated: Curated, tmp_path: Path) -> None:
    ask(curated, tmp_path / "runs")
    (tmp_path / "runs" / "fake" / run.RUN).unlink()
    with pytest.raises(VtError, match=r"is not empty and holds no run\.json \(it has predictions\.jsonl\)"):
        ask(curated, tmp_path / "runs")


def test_an_answerer_that_forgets_a_question_is_a_bug(curated: Curated, tmp_path: Path) -> None:
    class Forgetful(Fake):
        def answer(self, questions: Sequence[Question]) -> Iterator[RawReply]:
            yield from super().answer(questions[1:])

    with pytest.raises(RuntimeError, match="left 1 questions unanswered"):
        ask(curated, tmp_path / "runs", Forgetful())


# ---- several processes ----


class KilledError(Exception):
    """Stands for a signal."""


class Mortal(Fake):
    """Dies after two answers."""

    def answer(self, questions: Sequence[Question]) -> Iterator[RawReply]:
        yield from list(super().answer(questions))[:2]
        raise KilledError


def ask_sharded(curated: Curated, out: Path, world_size: int, killed: Sequence[int] = ()) -> list[list[str]]:
    """As torchrun would, in threads: all plan, each asks its share, process 0 finishes; one death ends them all."""
    fakes = [Mortal() if rank in killed else Fake() for rank in range(world_size)]
    barrier = threading.Barrier(world_size, timeout=60)

    def process(rank: int) -> None:
        jobs = run.plan({"fake": "model"}, curated, settings(), out, rank=rank)
        barrier.wait()
        try:
            run.diagnose(
                jobs, lambda _: fakes[rank], rank=rank, world_size=world_size, barrier=lambda: [barrier.wait(), None][1]
            )
        except KilledError:
            barrier.abort()
        except threading.BrokenBarrierError:
            assert killed

    with ThreadPoolExecutor(world_size) as pool:
        list(pool.map(process, range(world_size)))
    return [fake.asked for fake in fakes]


def test_processes_share_the_clips_and_leave_one_file(curated: Curated, tmp_path: Path) -> None:
    ask(curated, tmp_path / "one")
    asked = ask_sharded(curated, tmp_path / "three", 3)
    everything = [question.question_id for question in curated.questions("dev")]
    assert sorted(key for share in asked for key in share) == sorted(everything)
    scenes = [{key.split(":")[0] for key in share} for share in asked]
    assert not scenes[0] & scenes[1]
    assert not scenes[1] & scenes[2]
    assert all(scenes)
    one, three = (tmp_path / name / "fake" / run.PREDICTIONS for name in ("one", "three"))
    assert three.read_bytes() == one.read_bytes()
    assert list(three.parent.glob("*rank*")) == []


def test_what_killed_processes_left_is_kept_by_any_number_of_new_ones(curated: Curated, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    everything = {question.question_id for question in curated.questions("dev")}
    ask_sharded(curated, out, 4, killed=(0, 2))
    kept = set(read_predictions(out / "fake"))
    assert 0 < len(kept) < len(everything)
    assert not (out / "fake" / run.METRICS).exists()
    assert set(ask(curated, out).asked) == everything - kept
    assert {row.question_id for row in lines(out)} == everything


def test_a_kill_between_merging_and_removing_the_files_loses_nothing(curated: Curated, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    ask(curated, out)
    whole = (out / "fake" / run.PREDICTIONS).read_bytes()
    (out / "fake" / "predictions.rank1.jsonl").write_bytes(b"".join(whole.splitlines(keepends=True)[3:6]))
    assert ask(curated, out).asked == []
    assert (out / "fake" / run.PREDICTIONS).read_bytes() == whole
    assert list((out / "fake").glob("*rank*")) == []


# ---- names and settings ----


def test_names_of_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lr=1e-6").mkdir()
    monkeypatch.chdir(tmp_path)
    models = ["solver:gold", "Qwen/Qwen2.5-VL-3B-Instruct", "ours=out/cdpo", "out/checkpoint-500/", "a/b=c/d", "lr=1e-6", "."]
    assert run.model_names(models) == {
        "gold": "solver:gold",
        "Qwen2.5-VL-3B-Instruct": "Qwen/Qwen2.5-VL-3B-Instruct",
        "ours": "out/cdpo",
        "checkpoint-500": "out/checkpoint-500/",
        "d": "a/b=c/d",
        "lr=1e-6": "lr=1e-6",
        tmp_path.name: ".",
    }


@pytest.mark.parametrize("names_of", [run.model_names, run.data_names])
def test_one_folder_in_other_words_is_given_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names_of: Callable[[list[str]], dict[str, object]]
) -> None:
    (tmp_path / "cur").mkdir()
    (tmp_path / "link").symlink_to("cur")
    monkeypatch.chdir(tmp_path)
    for other in ("./cur", "cur/", str(tmp_path / "cur"), "link", "cur=link"):
        with pytest.raises(VtError, match=rf"{other}: is given twice, first as cur; name it once, or tell the two apart with"):
            names_of(["cur", other])
    with pytest.raises(VtError, match=r"cur: is given twice; name it once"):
        names_of(["cur", "cur"])
    assert list(names_of(["cur", "test=cur"])) == ["cur", "test"]  # with another split, say


@pytest.mark.parametrize(
    ("models", "message"),
    [
        (["a/b", "a/b"], "--model a/b: is given twice; name it once, or tell the two apart with --model NAME=a/b"),
        (["a/checkpoint-500", "b/checkpoint-500"], "two checkpoints are named 'checkpoint-500': a/checkpoint-500 and b/"),
        (["x="], "names nothing"),
        ([".hidden=a"], "cannot be the name of a folder"),
        (["=a"], "cannot be the name of a folder"),
    ],
)
def test_names_that_cannot_be(models: list[str], message: str) -> None:
    with pytest.raises(VtError, match=message):
        run.model_names(models)


def test_a_solver_stays_a_solver_where_a_server_answers_for_the_rest(curated: Curated, tmp_path: Path) -> None:
    models = {"gold": "solver:gold", "served": "Qwen2.5-VL-3B-Instruct"}
    kinds = [job.record.kind for job in run.plan(models, curated, settings(), tmp_path, endpoints=["http://localhost:8000/v1"])]
    assert kinds == ["solver", "endpoint"]
    assert [job.record.kind for job in run.plan(models, curated, settings(), tmp_path)] == ["solver", "checkpoint"]
    assert {"solver", "endpoint", "checkpoint"} == set(OPENERS)


def test_settings_out_of_bounds_are_all_named_at_once() -> None:
    with pytest.raises(VtError) as error:
        settings(n_frames=0, batch_size=0, temperature=-1.0, dtype="int4")
    for part in ("n_frames is 0", "batch_size is 0", "temperature is -1.0", "dtype is 'int4'"):
        assert part in str(error.value)


def test_grading_keeps_truncated_replies_that_can_be_read() -> None:
    (asked,) = random_questions([1], per_scene=1)

    def grade(reply: str, truncated: bool = False) -> Prediction:
        answer = RawReply(question_id="1:0", reply=reply, truncated=truncated)
        return run.grade(asked.question, answer, labels_of([asked]))

    graded = grade("<answer>A</answer> because the", truncated=True)
    assert (graded.chosen, graded.status) == (("A",), Status.TRUNCATED)
    graded = grade("<think>because the", truncated=True)
    assert (graded.chosen, graded.status) == (None, Status.TRUNCATED)
    graded = grade("Half a character: \ud83d <answer>A</answer>")
    assert (graded.chosen, graded.reply) == (("A",), "Half a character: ? <answer>A</answer>")
    graded = grade("Who knows?")
    assert (graded.chosen, graded.status) == (None, Status.NO_ANSWER)
    assert (graded.tokens, graded.logprob) == (None, None)


def test_grading_keeps_how_long_and_how_sure_a_reply_was() -> None:
    (asked,) = random_questions([1], per_scene=1)
    answer = RawReply(question_id="1:0", reply="<answer>A</answer>", n_tokens=7, logprob=-0.12345678901)
    graded = run.grade(asked.question, answer, labels_of([asked]))
    assert (graded.tokens, graded.logprob) == (7, -0.123457)


def test_a_line_from_before_tokens_and_log_probabilities_is_read(tmp_path: Path) -> None:
    line = '{"question_id":"1:0","reply":"B","chosen":["B"],"gold":["A"],"observer":[],"status":"ok","error":null}'
    (tmp_path / run.PREDICTIONS).write_text(line + "\n")
    row = read_predictions(tmp_path)["1:0"]
    assert (row.chosen, row.tokens, row.logprob) == (("B",), None, None)


def test_what_was_fed_covers_all_sessions() -> None:
    kinds = [{"n_clips": n, "frames": frames} for n, frames in ((2, 16), (1, 8))]
    images = [{"n_images": n, "height": height, "width": 84, "image_tokens": None} for n, height in ((2, 56), (1, 28))]
    stills = {"images": images, "texts": 3}
    first = {"fed": kinds, "seconds": {"clips": 1.5}, "dtype": "float32", "n_prompt_tokens_passed": 70, "stills": stills}
    second = {
        "fed": [{"n_clips": 5, "frames": 16}],
        "seconds": {"clips": 0.25},
        "dtype": "bfloat16",
        "n_prompt_tokens_passed": 9,
        "stills": {"images": images[:1], "texts": 0},
    }
    assert {one["frames"]: one["n_clips"] for one in add_fed(None, [first])["fed"]} == {16: 2, 8: 1}
    both = add_fed(first, [second])
    assert both["n_prompt_tokens_passed"] == 79
    assert {one["frames"]: one["n_clips"] for one in both["fed"]} == {16: 7, 8: 1}
    assert {one["height"]: one["n_images"] for one in both["stills"]["images"]} == {56: 4, 28: 1}
    assert both["stills"]["texts"] == 3
    assert add_fed(first, [{"fed": []}])["stills"]["texts"] == 3
    assert both["seconds"] == {"clips": 1.75}
    assert both["dtype"] == "bfloat16"


def test_what_is_served_is_part_of_a_run_and_where_is_not(curated: Curated, tmp_path: Path) -> None:
    def planned(url: str, root: str | None) -> list[run.Job]:
        served = {} if root is None else {"some/model": Served(by="vllm", root=root)}
        return run.plan({"served": "some/model"}, curated, settings(), tmp_path, endpoints=[url], served=served)

    (job,) = planned("http://me:secret@one:8000/v1/?key=secret", "/models/one")
    assert job.record.endpoint == "http://one:8000/v1"
    store.write_json(job.folder / run.RUN, job.record)
    planned("http://two:8000/v1", "/models/one")
    planned("http://two:8000/v1", None)
    with pytest.raises(VtError, match=r'served.root was "/models/one", is "/models/two"'):
        planned("http://one:8000/v1", "/models/two")
    said = store.read_json(job.folder / run.RUN, dict[str, Any])
    store.write_json(job.folder / run.RUN, {name: value for name, value in said.items() if name != "served"})
    planned("http://one:8000/v1", "/models/two")  # of a run that an earlier version began nobody knows


def test_what_is_loaded_is_shared_by_the_sets_of_one_checkpoint_and_gone_before_the_next(
    curated: Curated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []
    alive: list[weakref.ref[Callable[..., Any]]] = []

    def load(opening: Opening) -> Callable[..., Any]:
        assert not [one for one in alive if one() is not None]
        loaded.append(opening.ref)

        def answerer(asked: Curated, its: DiagnosisSettings) -> tuple[str, str, int]:
            return opening.ref, asked.folder.name, its.max_new_tokens

        alive.append(weakref.ref(answerer))
        return answerer

    monkeypatch.setitem(OPENERS, "checkpoint", load)
    other = Curated(tmp_path / "other", curated.manifest, None)
    opener = run.Opener()
    jobs = [
        run.Job(ref, tmp_path, data, its, RunRecord(name=name, model=ref, kind="checkpoint"), [], set(), {})
        for name, ref in (("a", "x"), ("b", "x"), ("c", "y"))
        for data, its in ((curated, settings()), (other, settings(max_new_tokens=7)))
    ]
    found: list[Any] = []
    for job in jobs:
        found.append(opener(job))
        assert opener.has(job)
    assert loaded == ["x", "x", "y"]  # one REF under two names may be loaded in two ways
    assert found[:2] == [("x", curated.folder.name, 1024), ("x", "other", 7)]
    assert not opener.has(run.Job(*jobs[-1][:3], settings(dtype="float32"), *jobs[-1][4:]))
