"""Arms that answer twice in a study: how they are trained, stopped, counted and judged."""

import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from conftest import draw_square
from study_factory import FILE, finish, make_study
from typer.testing import CliRunner, Result

from videothinker import answers, store
from videothinker.cli import app
from videothinker.errors import VtError
from videothinker.footage import Footage
from videothinker.models import tiny
from videothinker.pretrain.teach import Example, teach
from videothinker.records import Prediction, Rule, RunRecord, Status
from videothinker.records.study import Claim
from videothinker.records.study_cells import Record, State
from videothinker.records.study_results import Decision, Results
from videothinker.records.twice import SWEEP_FILE, StopSweep
from videothinker.reports.study import study_pages
from videothinker.study.cells import is_complete, record_file
from videothinker.study.claims import Comparison, parse_claim
from videothinker.study.collect import collect
from videothinker.study.config import load_study
from videothinker.study.contrasts import apart, shorter, thinking
from videothinker.study.cost import forecast
from videothinker.study.plan import Kind, cell_folder, cells_of, command, make_plan
from videothinker.study.scores import Scored
from videothinker.study.sheets import Sheet, read_sheet, to_bytes

MORE = """
[arms.auto]
stage = "auto"
seeds = 2
against = ["grpo"]

[arms.auto-repelled]
stage = "auto"
seeds = 2
force = true
set = { "objective.repulsion" = 0.1 }
against = ["auto"]

[ask.stopped]
data = "curated"
options = "--limit 4"
arms = ["base", "grpo", "auto", "auto-repelled"]
stop_from = "dev"

[ask.dev]
data = "curated"
arms = ["auto", "auto-repelled"]

[[claims]]
name = "where"
text = "where"
holds = ["auto thinks more on inferential questions"]
ask = "stopped"

[[claims]]
name = "shorter"
text = "shorter"
holds = ["auto writes less than 0.5 grpo"]
ask = "stopped"

[[claims]]
name = "pays"
text = "pays"
holds = ["auto gains more by thinking on inferential questions"]
ask = "dev"
"""
TEXT = FILE.replace('grpo = "grpo.toml"', 'grpo = "grpo.toml", auto = "auto.toml"').replace("[[sweeps]]", MORE + "\n[[sweeps]]")


def test_a_stop_is_chosen_where_nothing_was_stopped_and_taken_where_it_counts(tmp_path: Path) -> None:
    study, plan = make_study(tmp_path, TEXT)
    cells = {cell.name: cell for cell in plan}
    stop, stopped = cells["dev-stop.auto-s2"], cells["stopped.auto-s2"]
    run = tmp_path / "out"
    assert (stop.kind, stop.gpu, stop.needs) == (Kind.CHOOSE, False, ("dev.auto-s2", "curated"))
    assert command(stop, run, tmp_path) == [
        *("report", f"{run}/cells/dev.auto-s2", "--data", f"{run}/cells/curated", "--stop-sweep"),
        *("--out", f"{run}/cells/dev-stop.auto-s2"),
    ]
    assert stopped.needs == ("auto-s2", "curated", "dev-stop.auto-s2")
    file = f"{run}/cells/dev-stop.auto-s2/auto-s2/stop-sweep.json"
    assert command(stopped, run, tmp_path)[-6:] == ["--limit", "4", "--prompt", "twice", "--stop-at", file]
    assert "--stop-at" not in cells["stopped.grpo-s1"].arguments
    assert "dev.grpo-s1" not in cells
    assert cells["auto-s1"].arguments[1] == "auto"
    assert "--bias-model" not in cells["auto-s1"].arguments
    assert cells["auto-repelled-s2"].needs == ("curated", "bias-s2")
    assert "--force" in cells["auto-repelled-s2"].arguments
    rests = cells_of(study.named_claims["where"], study, plan)
    assert {"stopped.auto-s1", "dev-stop.auto-s1", "dev.auto-s1", "auto-s1", "curated"} <= rests
    assert "greedy.auto-s1" not in rests
    assert cells_of(study.named_claims["pays"], study, plan) == {
        *("dev.auto-s1", "dev.auto-s2", "auto-s1", "auto-s2", "curated"),
    }
    assert not is_complete(stop, cell_folder(run, stop.name))
    store.write_text(Path(file), "{}")
    assert is_complete(stop, cell_folder(run, stop.name))
    states = dict.fromkeys(cells, State.WAITING)
    assert forecast(plan, states, {}, run, n_gpu=1, n_cpu=1).seconds[stop.name] == 25


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('stop_from = "dev"', 'stop_from = "away"', "ask.stopped.stop_from = 'away': is no other way of asking"),
        ('stop_from = "dev"', 'stop_from = "stopped"', "or one that is stopped itself"),
        ('arms = ["auto", "auto-repelled"]', 'arms = ["auto"]', "'auto-repelled' is not asked in that way"),
        ('options = "--limit 4"\n', "", "asks the same questions, on which the best stop would confirm itself"),
        ('arms = ["base", "grpo", "auto", "auto-repelled"]', 'arms = ["grpo"]', "no arm of stage auto is asked in this way"),
        ('ask = "dev"', 'ask = "nowhere"', "claims[2].ask = 'nowhere': there is no [ask.nowhere]"),
        ("auto gains more by", "grpo gains more by", "'grpo' is no arm of stage auto"),
        ("auto thinks more on", "base thinks more on", "'base' is no arm of stage auto"),
        ("0.5 grpo", "0.5 cdpo", "'cdpo' is not asked in the way 'stopped', by whose answers the claim is decided"),
        ("0.5 grpo", "0 grpo", "compares no two arms"),
        (
            '"objective.repulsion" = 0.1',
            '"rewards.first" = 0.1',
            "force: only stage cdpo, and auto with an objective.repulsion",
        ),
    ],
)
def test_what_does_not_fit_is_said(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in TEXT
    with pytest.raises(VtError) as error:
        make_study(tmp_path, TEXT.replace(old, new))
    assert words in str(error.value)


def test_claims_about_thinking_are_read() -> None:
    def one(text: str) -> Comparison:
        (part,) = parse_claim(Claim(text="", holds=(text,), rule=Rule.ANY_OPTION))
        assert isinstance(part, Comparison)
        return part

    thinks = one("auto thinks more on inferential questions")
    assert (thinks.special, thinks.arms, thinks.above, thinks.bound, thinks.rule) == (
        "thinks",
        ("auto",),
        True,
        0,
        Rule.ANY_OPTION,
    )
    assert one("a-1 gains more by thinking on inferential questions").special == "gain"
    tokens = one("auto writes less than 0.5 think")
    assert (tokens.special, tokens.weights, tokens.above, tokens.measure) == (
        "tokens",
        (("auto", 1.0), ("think", -0.5)),
        False,
        "all",
    )
    assert tokens.name == "tokens of auto as a share of those of think, less 0.5"
    assert one("auto writes less than think").weights[1] == ("think", -1.0)
    assert one("auto writes less than think").pair is None


def scored(exact: list[int], first: list[int] | None, thinks: list[int] | None, tokens: list[float] | None) -> Scored:
    """Six questions about three scenes; the first three are observational."""
    floats = [None if one is None else np.array(one, np.float64) for one in (first, thinks, tokens)]
    return Scored(
        ids=np.array([f"q{i}" for i in range(6)]),
        scene=np.array([0, 1, 2, 0, 1, 2]),
        exact=np.array(exact, np.float64),
        like_observer=np.zeros(6),
        asked=np.ones(6, np.bool_),
        observational=dict.fromkeys(Rule, np.array([True, True, True, False, False, False])),
        first=floats[0],
        thinks=floats[1],
        tokens=floats[2],
    )


ARMS = {
    "auto": {
        1: scored([1, 1, 0, 1, 1, 0], [1, 1, 1, 0, 0, 0], [0, 1, 0, 1, 1, 1], [10, 30, 10, 30, 30, 30]),
        2: scored([1, 1, 1, 0, 1, 0], [1, 1, 1, 0, 1, 1], [0, 0, 0, 1, 0, 1], [10, 10, 10, 30, 10, 40]),
    },
    "think": {seed: scored([1, 1, 1, 1, 1, 1], None, None, [60, 60, 40, 20, 20, 40]) for seed in (1, 2)},
}


def test_thinking_and_its_gain_by_category() -> None:
    """Thinks: inferential 5 of 6, observational 1 of 6. Gain: inferential +2 and -1 of 6, observational -1 of 6."""
    often = apart("auto", "thinks", ARMS, Rule.ORACLE)
    assert often is not None
    assert often.crossed.value == pytest.approx(5 / 6 - 1 / 6)
    assert {seed: one.value for seed, one in often.per_seed.items()} == pytest.approx({1: 1 - 1 / 3, 2: 2 / 3})
    gain = apart("auto", "gain", ARMS, Rule.ORACLE)
    assert gain is not None
    assert gain.crossed.value == pytest.approx(1 / 6 + 1 / 6)
    assert {seed: one.value for seed, one in gain.per_seed.items()} == pytest.approx({1: 2 / 3 + 1 / 3, 2: -1 / 3})
    assert gain.crossed.ci95 is not None
    assert gain.crossed.ci95[0] < 0
    assert apart("think", "gain", ARMS, Rule.ORACLE) is None
    assert apart("nobody", "gain", ARMS, Rule.ORACLE) is None


def test_tokens_as_a_share_of_anothers() -> None:
    """Means 250 / 12 and 480 / 12, so 25 / 48; per seed against the common mean, so that both average to the whole."""
    found = shorter("auto", "think", 0.5, ARMS)
    assert found is not None
    assert found.crossed.value == pytest.approx(25 / 48 - 0.5)
    assert {seed: one.value for seed, one in found.per_seed.items()} == pytest.approx(
        {1: (140 - 25 / 48 * 240) / 240 + 25 / 48 - 0.5, 2: (110 - 25 / 48 * 240) / 240 + 25 / 48 - 0.5}
    )
    assert found.spread is not None
    assert (found.spread.n_scenes, found.spread.n_seeds) == (3, 2)
    lost = {"auto": ARMS["auto"], "think": {1: ARMS["think"][1], 2: scored([1] * 6, None, None, [1, 1, 1, 1, 1, np.nan])}}
    assert shorter("auto", "think", 0.5, lost) is None
    gone = np.array([True] * 5 + [False])
    unasked = {name: {seed: one._replace(asked=gone) for seed, one in runs.items()} for name, runs in lost.items()}
    fewer = shorter("auto", "think", 0.5, unasked)
    assert fewer is not None
    assert fewer.crossed.value == pytest.approx((110 + 70) / (200 + 5) - 0.5)
    without = {"auto": ARMS["auto"], "think": {1: scored([1] * 6, None, None, None)}}
    assert shorter("auto", "think", 0.5, without) is None


def test_a_ratio_that_all_seeds_and_scenes_share_is_certain() -> None:
    """Of a reply that is a third of the other one for every question, only the one more scene remains."""
    theirs = [60, 60, 40, 20, 20, 40]
    arms = {
        "a": {seed: scored([1] * 6, None, None, [one / 3 for one in theirs]) for seed in (1, 2)},
        "b": {seed: scored([1] * 6, None, None, [float(one) for one in theirs]) for seed in (1, 2)},
    }
    found = shorter("a", "b", 0.5, arms)
    assert found is not None
    assert found.crossed.value == pytest.approx(1 / 3 - 1 / 2)
    assert found.spread is not None
    assert (found.spread.seeds, found.spread.interaction) == pytest.approx((0, 0))


def test_levels_of_thinking() -> None:
    found = thinking(ARMS["auto"], Rule.ORACLE)
    assert {name: one.value for name, one in found["first"].items()} == pytest.approx(
        {"all": 8 / 12, "observational": 1, "inferential": 2 / 6}
    )
    assert {name: one.value for name, one in found["gain"].items()} == pytest.approx(
        {"all": 0, "observational": -1 / 6, "inferential": 1 / 6}
    )
    assert found["tokens"] == pytest.approx({"all": 250 / 12, "observational": 80 / 6, "inferential": 170 / 6})
    other = thinking(ARMS["think"], Rule.ORACLE)
    assert other.keys() == {"second", "tokens"}


def prediction(question: str, reply: str, first: tuple[str, ...] | None, tokens: int | None) -> Prediction:
    return Prediction(
        question_id=question,
        reply=reply,
        chosen=("A",),
        gold=("A",),
        observer=(),
        status=Status.OK,
        tokens=tokens,
        first=first,
        second=("A",),
    )


def test_answer_sheets_keep_first_answers_and_tokens(tmp_path: Path) -> None:
    gold = np.array(["A", "A", "A", "A", None], dtype=object)[:-1]
    every = dict.fromkeys(Rule, np.ones(4, np.bool_))
    sheet = Sheet(["a", "b", "c", "d"], [1, 2, 3, 4], gold, gold, every)
    rows = {
        "a": prediction("a", r"\boxed{A}", ("A",), 8),
        "b": prediction("b", r"\boxed{B} <think>x</think> \boxed{A}", ("B",), 20),
        "c": prediction("c", r"\boxed{Let's analyze the problem step by step.} <think>x</think> \boxed{A}", None, None),
    }
    sheet.add("auto", 3, rows, beside=True)
    sheet.add("think", 3, {name: msgspec.structs.replace(row, first=msgspec.UNSET) for name, row in rows.items()}, beside=True)
    sheet.add("plain", 3, rows)
    store.write_bytes(tmp_path / "x.parquet", to_bytes(sheet))
    found = read_sheet(tmp_path / "x.parquet").arms(["auto", "think", "plain"])
    auto = found["auto"][3]
    assert auto.ids.tolist() == ["a", "b", "c"]
    assert auto.first is not None
    assert auto.thinks is not None
    assert auto.tokens is not None
    assert (auto.first.tolist(), auto.thinks.tolist()) == ([1, 0, 0], [0, 1, 1])
    np.testing.assert_array_equal(auto.tokens, [8, 20, np.nan])
    assert (found["think"][3].first, found["think"][3].thinks) == (None, None)
    assert found["think"][3].tokens is not None
    assert found["plain"][3].tokens is None
    store.write_bytes(tmp_path / "y.parquet", to_bytes(read_sheet(tmp_path / "x.parquet")))
    assert (tmp_path / "x.parquet").read_bytes() == (tmp_path / "y.parquet").read_bytes()


def test_a_study_judges_them(tmp_path: Path) -> None:
    """Made-up replies: an arm that stops on every observational question, and is put right by thinking on the others."""
    study, plan = make_study(tmp_path, TEXT)
    out = tmp_path / "out"
    wanted = {"curated", *(cell.name for cell in plan if cell.ask in ("dev", "stopped") and cell.arm in ("auto", "grpo"))}
    for cell in plan:
        if cell.name in wanted:
            finish(cell, out)
    for cell in plan:
        if cell.name in wanted and cell.ask is not None:
            _rewrite(cell_folder(out, cell.name) / cell.name.partition(".")[2] / "predictions.jsonl", twice=cell.arm == "auto")
    states = {cell.name: State.FINISHED if cell.name in wanted else State.WAITING for cell in plan}
    records = {name: store.read_json(out / "records" / f"{name}.json", Record) for name in wanted}
    found = collect(study, plan, out, states, records)
    by_name = {one.claim.name: one for one in found.results.verdicts}
    assert by_name["where"].decision is Decision.CONFIRMED
    assert by_name["shorter"].decision is Decision.CONFIRMED
    assert by_name["pays"].decision is Decision.CONFIRMED
    (part,) = by_name["shorter"].parts
    assert part.name == "tokens of auto as a share of those of grpo, less 0.5 (asked stopped)"
    assert {(one.ask, one.arm) for one in found.results.thinking} == {
        *(("stopped", "grpo"), ("stopped", "auto"), ("dev", "auto")),
    }
    page = study_pages(found.results)["report.md"].decode()
    assert "What thinking is worth and what it takes, asked stopped, rule oracle" in page
    assert "auto thinks on inferential than on observational questions (asked stopped)" in page


def _rewrite(file: Path, *, twice: bool) -> None:
    """Replies of 100 tokens; of an arm that answers twice 10 and no thought where the observer is right, else 20."""
    rows = store.read_jsonl(file, Prediction)
    found = []
    for row in rows:
        if not twice:
            found.append(msgspec.structs.replace(row, tokens=100))
            continue
        shallow = row.observer == row.gold
        found.append(
            msgspec.structs.replace(
                row,
                reply=r"\boxed{x}" if shallow else r"\boxed{x} <think>y</think> \boxed{z}",
                chosen=row.gold,
                first=row.gold if shallow else None,
                second=row.gold,
                tokens=10 if shallow else 20,
            )
        )
    store.write_jsonl(file, found)


def test_the_shipped_study_is_whole() -> None:
    configs = Path(__file__).parents[2] / "configs"
    study = load_study(configs / "study-auto.toml")
    assert list(study.arms) == ["direct", "think", "auto", "bias", "auto-repelled"]
    assert len(study.seeds) == 4
    assert {arm.set.get("data.prompt") for arm in study.arms.values()} == {"direct", "cot", "twice", None}
    assert study.ask["stopped"].stop_from == "dev"
    assert (study.ask["dev"].data, study.ask["stopped"].data) == ("curated", "heldout")
    told = (Path(__file__).parents[2] / "reports" / "study-auto" / "claims.md").read_text()
    for claim in study.claims:
        assert f"**{claim.name}**" in told
        assert all(f"`{part}`" in told for part in claim.holds)


SMALLER = {
    'model = "data/study/base-forms"': 'model = "{start}"',
    "seeds = [31, 32, 33, 34]": "seeds = [31]",
    "[prepare.world]": (
        '[prepare.start]\nrun = "curate clevrer --annotations none --questions none --out {out}"\n\n[prepare.world]'
    ),
    "--scenes 20000 --seed 15 --size 240x160": "--scenes 12 --seed 15 --size 168x112 --workers 1",
    "--scenes 20000 --seed 15 --first-scene 20000 --size 240x160": (
        "--scenes 6 --seed 15 --first-scene 12 --size 168x112 --workers 1"
    ),
    "--observational-share 0.74 --train-size 6400 --dev-share 0.1": "--dev-share 0.5 --workers 1",
    "steps = 200": "steps = 1",
    '"data.n_questions" = 6400': '"data.n_questions" = 8',
    '"rollouts.questions_per_step" = 64': '"rollouts.questions_per_step" = 1',
    '"rollouts.n_replies" = 8': '"rollouts.n_replies" = 2',
    '"rollouts.max_new_tokens" = 128': '"optimizer.weight_decay" = 0.1\n"rollouts.max_new_tokens" = 32',
    "--max-new-tokens 128": "--max-new-tokens 32 --limit 3",
}
"""What makes the shipped study small enough for a test: a dozen scenes, one step, three questions."""


def vt(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


def test_the_whole_of_the_shipped_study_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its cells run in this process by their own command lines; `vt study` finds them finished and draws the report."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("VIDEOTHINKER_CACHE", str(tmp_path / "cache"))
    configs = Path(__file__).parents[2] / "configs"
    text = (configs / "study-auto.toml").read_text()
    for old, new in SMALLER.items():
        assert old in text, old
        text = text.replace(old, new)
    file, out = tmp_path / "study.toml", tmp_path / "out"
    store.write_text(file, text)
    for stage in ("bias", "grpo", "auto"):
        shutil.copy(configs / f"{stage}-tiny.toml", tmp_path)
    start = _taught_to_answer_twice(tmp_path / "start", tmp_path / "clips")
    given = ("--given", f"start={start}")
    assert vt("study", file, "--out", out, *given, "--max-minutes", "0", "--no-report").exit_code == 0
    plan = make_plan(load_study(file), tmp_path, {"start": store.read_json(record_file(out, "start"), Record).identity})
    for cell in plan:
        if not cell.arguments:
            continue
        arguments = command(cell, out, tmp_path)
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, (cell.name, result.output, result.exception)
        assert is_complete(cell, cell_folder(out, cell.name)), cell.name
        record = Record(identity=cell.identity, state=State.FINISHED, command=" ".join(arguments), seconds=1.0)
        store.write_json(record_file(out, cell.name), record)

    best = store.read_json(cell_folder(out, "dev-stop.auto-s31") / "auto-s31" / SWEEP_FILE, StopSweep).best
    stopped = store.read_json(cell_folder(out, "stopped.auto-s31") / "auto-s31" / "run.json", RunRecord)
    assert stopped.settings["stop_at"] == best.stop_at
    styles = {
        arm: store.read_json(cell_folder(out, f"stopped.{arm}-s31") / f"{arm}-s31" / "run.json", RunRecord).settings["prompt"]
        for arm in ("direct", "think", "auto", "bias", "auto-repelled")
    }
    assert styles == {"direct": "direct", "think": "cot", "auto": "twice", "bias": "twice", "auto-repelled": "twice"}
    assert vt("study", file, "--out", out, *given, "--report-only").exit_code == 0
    results = store.read_json(out / "results.json", Results)
    assert {one.claim.name: one.decision for one in results.verdicts} == dict.fromkeys(
        ("equal", "shorter", "where", "pays", "repelled", "needed"), Decision.UNDECIDED
    )
    by = {(one.ask, one.arm): one for one in results.thinking}
    assert by["full", "auto"].first.keys() == {"all", "observational", "inferential"}
    assert (by["full", "auto"].tokens["all"] or 0) >= (by["stopped", "auto"].tokens["all"] or 0) > 0
    assert by["stopped", "think"].first == {}
    assert "What thinking is worth and what it takes, asked full" in (out / "report.md").read_text()
    again = vt("study", file, "--out", out, "--recompute")
    assert again.exit_code == 0, again.output


def _taught_to_answer_twice(folder: Path, clips: Path) -> Path:
    """A checkpoint that says one and the same reply, whatever it is asked: a few seconds of teaching."""
    clips.mkdir()
    draw_square(clips / "a.mp4", (200, 30, 30))
    reply = r"\boxed{A} <think>cube</think> \boxed{B}"
    prompts = [answers.render_prompt("Which event will happen?", ["a", "b"], style) for style in answers.Style]
    teach(
        tiny.build(folder), [Example(Footage(clips / "a.mp4"), prompt, reply) for prompt in prompts], n_steps=60, batch_size=3
    )
    return folder
