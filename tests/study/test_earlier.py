"""A study that goes on from the report of an earlier piece: what counts as finished, and that the numbers are those of one."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import vt_command
from report_factory import make
from study_factory import FILE, finish, make_study
from typer.testing import CliRunner, Result

from videothinker import store
from videothinker.cli import app
from videothinker.errors import VtError
from videothinker.records.study import Stage, Study
from videothinker.records.study_cells import Record, State
from videothinker.records.study_results import NO_SEED, Results
from videothinker.reports.study_figures import curves_figure
from videothinker.reports.study_tables import cost_table, runs_table
from videothinker.study import run
from videothinker.study.cells import discard, read_records, record_file, refuse_without_weights, states_of, without_weights
from videothinker.study.collect import collect, unanswered
from videothinker.study.earlier import complete, keep, news, pieces_in, read_piece
from videothinker.study.pack import pack, unpack
from videothinker.study.plan import Cell, cell_folder
from videothinker.study.recompute import recompute
from videothinker.study.sheets import Beside, Sheet, read_sheet, to_bytes

SMALL = FILE.replace("seeds = [1, 2, 3, 4]", "seeds = [1, 2]")
QUESTIONS = make(24, 3).questions["train"]
Plan = tuple[Cell, ...]
First = tuple[Study, Plan, Results]


def look(plan: Plan, folder: Path) -> dict[str, State]:
    return states_of(plan, read_records(plan, folder), folder)


def finished(plan: Plan, folder: Path) -> set[str]:
    return {name for name, state in look(plan, folder).items() if state is State.FINISHED}


def report(study: Study, plan: Plan, folder: Path) -> Results:
    """Write what numbers rest on, as `vt study` does beside its pages, and return all that there is."""
    results, sheets = collect(study, plan, folder, look(plan, folder), read_records(plan, folder))
    for name, sheet in sheets.items():
        store.write_bytes(folder / "answers" / f"{name}.parquet", to_bytes(sheet))
    store.write_json(folder / "results.json", msgspec.structs.replace(results, trainings=brief(results)))
    return results


def brief(results: Results) -> list[Any]:
    return [msgspec.structs.replace(one, steps=[]) for one in results.trainings]


def numbers(results: Results) -> Any:
    return (
        *(results.levels, results.differences, results.contrasts, results.verdicts),
        *(results.references, brief(results), results.states, results.seconds),
    )


def is_new(cell: Cell) -> bool:
    """Whether a cell is of the second piece: cdpo of all seeds, one more asking of grpo, and one of the bias models."""
    return cell.arm == "cdpo" or cell.name == "sampled.grpo-s2" or cell.name.startswith("greedy.bias")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the study's file, and all but the new cells in folder/first, with their report."""
    folder = tmp_path_factory.mktemp("made")
    study, plan = make_study(folder, SMALL)
    for cell in plan:
        if not is_new(cell):
            finish(cell, folder / "first", QUESTIONS, seconds=30.0 + len(cell.name))
    report(study, plan, folder / "first")
    return folder


@pytest.fixture
def first_piece(made: Path, tmp_path: Path) -> First:
    """The report in tmp_path/first, and its study."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    study, plan = make_study(tmp_path, SMALL)
    return study, plan, store.read_json(tmp_path / "first" / "results.json", Results)


def test_two_pieces_give_the_numbers_of_one_study(tmp_path: Path, first_piece: First) -> None:
    """The second one's columns stand where those of the whole study do, and the first one's folder may go."""
    study, plan, _ = first_piece
    whole, second = tmp_path / "whole", tmp_path / "second"
    keep(second, read_piece(tmp_path / "first"))
    assert finished(plan, second) == {cell.name for cell in plan if not is_new(cell)}
    (tmp_path / "first").rename(tmp_path / "away")
    for cell in plan:
        finish(cell, whole, QUESTIONS, seconds=30.0 + len(cell.name))
        if is_new(cell) or cell.name == "curated":
            finish(cell, second, QUESTIONS, seconds=30.0 + len(cell.name))
    one, two = report(study, plan, whole), report(study, plan, second)
    assert numbers(two) == numbers(one)
    for name in study.ask:
        file = Path("answers") / f"{name}.parquet"
        assert (second / file).read_bytes() == (whole / file).read_bytes()
    assert {cell.name: bool(cell.steps) for cell in two.trainings} == {cell.name: cell.arm == "cdpo" for cell in two.trainings}
    assert recompute(second).differing == []


def test_a_report_alone_gives_itself_again_without_the_questions(tmp_path: Path, first_piece: First) -> None:
    study, plan, before = first_piece
    keep(tmp_path / "out", read_piece(tmp_path / "first"))
    again = report(study, plan, tmp_path / "out")
    assert numbers(again) == numbers(before)
    assert not (tmp_path / "out" / "cells").exists()
    assert "diverged" in {one.name: "diverged" if one.diverged else "" for one in again.trainings}["repel-start-s2"]
    keep(tmp_path / "third", read_piece(tmp_path / "out"))  # whose own files hold what came from the first one
    assert numbers(report(study, plan, tmp_path / "third")) == numbers(before)


def test_a_report_says_which_runs_have_no_steps_here(tmp_path: Path, first_piece: First) -> None:
    """cdpo-s1 took 40 steps of 1.2 s in 96 s, which is half of its time, whatever the six runs of its stage took before it."""
    study, plan, _ = first_piece
    second = tmp_path / "second"
    keep(second, read_piece(tmp_path / "first"))
    (new,) = (cell for cell in plan if cell.name == "cdpo-s1")
    finish(new, second, seconds=96.0)
    results = report(study, plan, second)
    assert curves_figure(results, "curves", ["grpo", "bias", "cdpo"]).caption.endswith("Without 4 runs of earlier pieces.")
    assert "Those of runs of earlier pieces are not here." in runs_table(results.trainings, {}).caption
    cost = cost_table(results)
    assert next(row for row in cost.rows if row[0] == "train cdpo")[3] == "50.0\u00a0%"
    assert cost.caption.endswith("Neither counts runs of earlier pieces.")


def test_what_lies_in_the_cells_counts_before_an_earlier_report(tmp_path: Path, first_piece: First) -> None:
    study, plan, _ = first_piece
    second = tmp_path / "second"
    for cell in plan:
        if cell.name in ("curated", "greedy.base"):
            finish(cell, second, QUESTIONS, seconds=7.0)
    (predictions,) = cell_folder(second, "greedy.base").glob("*/predictions.jsonl")
    lines = [json.loads(line) for line in predictions.read_text().splitlines()]
    store.write_jsonl(predictions, [{**line, "reply": "", "chosen": None} for line in lines])
    keep(second, read_piece(tmp_path / "first"))
    assert read_records(plan, second)["greedy.base"].seconds == 7
    report(study, plan, second)
    sheet = read_sheet(second / "answers" / "greedy.parquet")
    assert set(sheet.answers["base", NO_SEED]) == {"unread"}
    assert set(sheet.answers["grpo", 1]) != {"unread"}


def test_a_piece_counts_only_for_the_very_cells_that_it_ran(tmp_path: Path, first_piece: First) -> None:
    """With another setting of one arm, that arm's runs are told to be outdated, and its answers are not taken."""
    study, plan = make_study(tmp_path, SMALL.replace('"objective.repulsion" = 0.03', '"objective.repulsion" = 0.02'))
    out = tmp_path / "out"
    keep(out, read_piece(tmp_path / "first"))
    for cell in plan:
        if cell.arm == "repulsion-03":  # run here with the new setting, and packed without answers
            record = Record(identity=cell.identity, state=State.FINISHED, command="vt", packed=True)
            store.write_json(record_file(out, cell.name), record)
    sheet = complete(
        study, "greedy", None, [cell for cell in plan if cell.ask == "greedy"], read_records(plan, out), pieces_in(out)
    )
    assert sheet is not None
    assert ("repulsion-03", 1) not in sheet.answers
    assert ("attract", 1) in sheet.answers


def edited(folder: Path, edit: Callable[[Sheet], Sheet]) -> None:
    path = folder / "answers" / "greedy.parquet"
    path.write_bytes(to_bytes(edit(read_sheet(path))))


def another_gold(sheet: Sheet) -> Sheet:
    sheet.gold[3] = "D"
    return sheet


def one_less(sheet: Sheet) -> Sheet:
    rules = {rule: mask[1:] for rule, mask in sheet.observational.items()}
    left = Sheet(sheet.ids[1:].tolist(), sheet.scenes[1:].tolist(), sheet.gold[1:], sheet.observer[1:], rules)
    left.answers = {run: said[1:] for run, said in sheet.answers.items()}
    return left


@pytest.mark.parametrize(
    ("edit", "row", "said"), [(another_gold, 3, "gold is 'D', and in this study '"), (one_less, 0, "is missing, which")]
)
def test_other_questions_are_refused_by_name(
    tmp_path: Path, first_piece: First, edit: Callable[[Sheet], Sheet], row: int, said: str
) -> None:
    study, plan, _ = first_piece
    second = tmp_path / "second"
    which = read_sheet(tmp_path / "first" / "answers" / "greedy.parquet").ids[row]
    edited(tmp_path / "first", edit)
    keep(second, read_piece(tmp_path / "first"))
    for cell in plan:
        if cell.name in ("curated", "greedy.cdpo-s1"):
            finish(cell, second, QUESTIONS)
    with pytest.raises(VtError) as caught:
        report(study, plan, second)
    assert f"greedy.parquet: question {which}" in str(caught.value)
    assert said in str(caught.value)


def test_several_pieces_go_together_whatever_their_order(tmp_path: Path) -> None:
    """One knows the arms of the first claim, the other one the others; both have the base, which counts once."""
    study, plan = make_study(tmp_path, SMALL)
    for name, arms in (("a", ("base", "grpo")), ("b", ("base", "attract", "bias"))):
        for cell in plan:
            if cell.name == "curated" or cell.arm in arms:
                finish(cell, tmp_path / name, QUESTIONS)
        report(study, plan, tmp_path / name)
    reports = []
    for order in (("a", "b"), ("b", "a")):
        out = tmp_path / "".join(order)
        for name in order:
            keep(out, read_piece(tmp_path / name))
        report(study, plan, out)
        reports.append((out / "answers" / "greedy.parquet").read_bytes())
    assert reports[0] == reports[1]
    runs = read_sheet(tmp_path / "ab" / "answers" / "greedy.parquet").answers
    assert list(runs) == [("base", NO_SEED), *((arm, seed) for arm in ("bias", "grpo", "attract") for seed in (1, 2))]


def other_answers(first: Path, other: Path, seconds: float) -> None:
    """A report of the same cells that took other seconds and in which grpo-s1 read nothing."""
    shutil.copytree(first, other)
    results = store.read_json(other / "results.json", Results)
    records = {name: msgspec.structs.replace(record, seconds=seconds) for name, record in results.records.items()}
    store.write_json(other / "results.json", msgspec.structs.replace(results, records=records))
    sheet = read_sheet(other / "answers" / "greedy.parquet")
    sheet.answers["grpo", 1] = np.array(["unread"] * len(sheet.ids), dtype=np.object_)
    store.write_bytes(other / "answers" / "greedy.parquet", to_bytes(sheet))


@pytest.mark.parametrize("begin", ["first", "other"])
def test_of_two_runs_of_a_cell_that_of_the_report_given_first_counts(tmp_path: Path, first_piece: First, begin: str) -> None:
    """Answers, gates and seconds come from one piece, whatever the hashes of the two are."""
    study, plan, _ = first_piece
    for number in range(3):  # other seconds, other hashes
        other_answers(tmp_path / "first", tmp_path / f"other-{number}", 1000.0 + number)
        names = {"first": "first", "other": f"other-{number}"}
        order = sorted(names, key=lambda name: name != begin)
        for name in order:
            keep(tmp_path / f"out-{number}", read_piece(tmp_path / names[name]))
        results, sheets = collect(study, plan, out := tmp_path / f"out-{number}", look(plan, out), read_records(plan, out))
        assert (sheets["greedy"].answers["grpo", 1] == "unread").all() == (begin == "other")
        assert results.records["grpo-s1"].seconds == (1000.0 + number if begin == "other" else 37.0)


def test_answers_that_the_study_found_itself_and_lost_are_not_those_of_an_earlier_report(
    tmp_path: Path, first_piece: First
) -> None:
    study, plan, _ = first_piece
    keep(tmp_path / "out", read_piece(tmp_path / "first"))
    for cell in plan:
        if cell.name in ("curated", "greedy.grpo-s1"):
            finish(cell, tmp_path / "out", QUESTIONS, seconds=5.0, packed=True)
    shutil.rmtree(cell_folder(tmp_path / "out", "greedy.grpo-s1"))
    states = look(plan, tmp_path / "out")
    _, sheets = collect(study, plan, tmp_path / "out", states, read_records(plan, tmp_path / "out"))
    assert ("grpo", 1) not in sheets["greedy"].answers
    assert unanswered(plan, states, sheets) == ["greedy.grpo-s1"]


def test_what_was_deleted_since_does_not_come_back(tmp_path: Path, first_piece: First) -> None:
    _, plan, _ = first_piece
    out, piece = tmp_path / "out", read_piece(tmp_path / "first")
    keep(out, piece)
    discard(["grpo-s1"], out)
    files = sorted(out.rglob("*"))
    keep(out, piece)
    assert sorted(out.rglob("*")) == files
    assert "grpo-s1" not in finished(plan, out)
    assert news([piece], out) == {}


def test_an_asking_whose_answers_the_sheet_lacks_is_asked_again(tmp_path: Path, first_piece: First) -> None:
    _, plan, _ = first_piece

    def without_seed_2(sheet: Sheet) -> Sheet:
        del sheet.answers["grpo", 2]
        return sheet

    edited(tmp_path / "first", without_seed_2)
    keep(tmp_path / "out", read_piece(tmp_path / "first"))
    assert {cell.name for cell in plan if not is_new(cell)} - finished(plan, tmp_path / "out") == {"greedy.grpo-s2"}


def test_data_that_were_given_back_can_be_made_again_and_others_cannot(tmp_path: Path, first_piece: First) -> None:
    study, plan, _ = first_piece
    record = read_records(plan, tmp_path / "first")["curated"]
    told = []
    for given in (record, msgspec.structs.replace(record, command="given: elsewhere")):
        store.write_json(record_file(tmp_path / "first", "curated"), msgspec.structs.replace(given, given=True))
        report(study, plan, tmp_path / "first")
        told.append(read_piece(tmp_path / "first").finished["curated"])
    assert [(one.given, one.packed) for one in told] == [(False, True), (True, True)]


def test_a_pack_carries_earlier_pieces(tmp_path: Path, first_piece: First) -> None:
    study, plan, before = first_piece
    out, there = tmp_path / "out", tmp_path / "there"
    keep(out, read_piece(tmp_path / "first"))
    pack(study, plan, out, tmp_path / "away", lambda *_, **__: None)
    unpack(there, tmp_path / "away")
    assert numbers(report(study, plan, there)) == numbers(before)


@pytest.mark.parametrize("order", [("left", "right"), ("right", "left")])
def test_what_one_machine_ran_again_counts_before_what_the_other_knows_of_an_earlier_piece(
    tmp_path: Path, first_piece: First, order: tuple[str, str]
) -> None:
    """Both machines went on from one report; one of them had to train grpo of seed 1 again, in 7 seconds, the other did not."""
    study, plan, _ = first_piece
    piece = read_piece(tmp_path / "first")
    for side in ("left", "right"):
        keep(tmp_path / side, piece)
        if side == "left":
            discard(["grpo-s1"], tmp_path / side)
            finish(next(cell for cell in plan if cell.name == "grpo-s1"), tmp_path / side, seconds=7.0)
        pack(study, plan, tmp_path / side, tmp_path / f"{side}-pack", lambda *_, **__: None)
    for side in order:
        unpack(tmp_path / "there", tmp_path / f"{side}-pack")
    found = read_records(plan, tmp_path / "there")
    assert found["grpo-s1"].seconds == 7.0
    assert found["grpo-s2"] == piece.finished["grpo-s2"]


def test_what_replies_say_beside_their_answers_comes_along(tmp_path: Path, first_piece: First) -> None:
    """A study with arms that answer twice has a column of tokens for each run, empty where an earlier study counted none."""
    study, plan, _ = first_piece
    twice = msgspec.structs.replace(
        study, arms={name: msgspec.structs.replace(arm, stage=Stage.AUTO) for name, arm in study.arms.items()}
    )
    out, piece = tmp_path / "out", read_piece(tmp_path / "first")
    keep(out, piece)
    done = [cell for cell in plan if cell.name in ("greedy.grpo-s1", "greedy.grpo-s2")]
    theirs = piece.sheets["greedy"]
    tokens = np.array(["7"] * len(theirs.ids), dtype=object)
    theirs.beside["grpo", 2] = Beside(None, None, tokens)
    records = read_records(plan, out)
    assert twice.answers_twice
    found = complete(twice, "greedy", None, done, records, [piece])
    assert found is not None
    assert found.beside["grpo", 2].tokens is tokens
    assert set(found.beside["grpo", 1].tokens) == {""}
    plain = complete(study, "greedy", None, done, records, [piece])
    assert plain is not None
    assert plain.beside == {}


def test_replies_that_stayed_away_and_are_needed_are_named(tmp_path: Path) -> None:
    """A stop is chosen from whole replies, of which a sheet has the letters alone."""
    arms = '[arms.auto]\nstage = "auto"\nseeds = 2\n'
    ways = '[ask.dev]\ndata = "curated"\narms = ["auto"]\n'
    ways += '[ask.stopped]\ndata = "curated"\noptions = "--limit 4"\nstop_from = "dev"\narms = ["auto"]\n'
    text = SMALL.replace('grpo = "grpo.toml"', 'grpo = "grpo.toml", auto = "auto.toml"')
    _, plan = make_study(tmp_path, text.replace("[[sweeps]]", f"{arms}{ways}[[sweeps]]"))
    out = tmp_path / "out"
    for cell in plan:
        if cell.name not in ("stopped.auto-s2", "dev-stop.auto-s2"):
            record = Record(identity=cell.identity, state=State.FINISHED, command="vt", packed=True)
            store.write_json(record_file(out, cell.name), record)
    lost = without_weights(plan, read_records(plan, out), out)
    assert lost == ["auto-s2", "dev.auto-s2"]
    with pytest.raises(VtError, match=r"the weights of auto-s2 and the replies of dev\.auto-s2 stayed on another machine"):
        refuse_without_weights(lost, out)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "results.json").unlink(), "has no results.json; expected the folder of a report"),
        (lambda folder: (folder / "results.json").write_text("{"), "results.json: not as expected"),
        (lambda folder: (folder / "answers" / "greedy.parquet").unlink(), "has no answers/greedy.parquet, on which"),
        (lambda folder: (folder / "answers" / "greedy.parquet").write_bytes(b"PAR1"), "greedy.parquet: cannot be read as"),
        (
            lambda folder: (folder / "results.json").write_text(
                (folder / "results.json").read_text().replace('"grpo-s1"', '"../grpo-s1"')
            ),
            "has a cell or a way of asking named '../grpo-s1', which no study writes",
        ),
    ],
)
def test_a_damaged_report_is_a_line(tmp_path: Path, first_piece: First, damage: Callable[[Path], object], said: str) -> None:
    damage(tmp_path / "first")
    with pytest.raises(VtError) as caught:
        read_piece(tmp_path / "first")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "name"), [("records", "grpo-s1"), ("records", "greedy.base"), ("records", "curated"), ("trainings", "grpo-s1")]
)
def test_results_that_lack_what_they_say_is_finished_are_a_line(
    tmp_path: Path, first_piece: First, capsys: pytest.CaptureFixture[str], field: str, name: str
) -> None:
    """A training without its record would be trained again, and one without its entry counted without its gate."""
    path = tmp_path / "first" / "results.json"
    results = store.read_json(path, dict[str, Any])
    if field == "records":
        del results["records"][name]
    else:
        results["trainings"] = [one for one in results["trainings"] if one["name"] != name]
    store.write_json(path, results)
    command = ("study", tmp_path / "study.toml", "--out", tmp_path / "out", "--earlier", tmp_path / "first", "--dry-run")
    assert vt_command.vt(*command) == 2
    expected = (
        f"error: {path}: {field}: has nothing of '{name}', expected an entry, for states says that it is finished; put it"
    )
    assert vt_command.one_error(capsys).startswith(expected)


def test_trainings_that_are_not_finished_need_no_entry(tmp_path: Path, first_piece: First) -> None:
    path = tmp_path / "first" / "results.json"
    results = store.read_json(path, dict[str, Any])
    results["trainings"] = [one for one in results["trainings"] if not one["name"].startswith("cdpo-s")]
    store.write_json(path, results)
    assert "cdpo-s1" not in read_piece(tmp_path / "first").finished


@pytest.mark.parametrize("option", ["--dry-run", "--redo", "--report-only"])
def test_a_report_of_another_study_is_a_line_that_names_both(
    tmp_path: Path, first_piece: First, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    """It has cells of the same names, and even the same data; nothing is kept of it."""
    other = SMALL.replace("A made-up study", "Another study").replace("lab/tiny", "lab/small")
    n_made = sum(cell.name != "curated" and not is_new(cell) for cell in first_piece[1])
    make_study(tmp_path, other)
    first, out = tmp_path / "first", tmp_path / "out"
    assert vt_command.vt("study", tmp_path / "study.toml", "--out", out, "--earlier", first, option) == 2
    said = vt_command.one_error(capsys)
    assert said.startswith(f"error: --earlier {first}: results.json: study: is 'A made-up study', of whose {n_made} finished")
    assert "of 'Another study'" in said
    assert "leave --earlier out" in said
    assert not list(out.glob("*/*"))


def vt(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["study", *map(str, arguments)], catch_exceptions=False)


def test_a_study_goes_on_from_a_report_by_command(tmp_path: Path, first_piece: First, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan writes nothing; what needs weights is refused; what the claims are without runs, and the report stays."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(run, "VT", (sys.executable, str(Path(__file__).with_name("stub_vt.py"))))
    _, plan, before = first_piece
    file, out, first = tmp_path / "study.toml", tmp_path / "out", tmp_path / "first"
    store.write_json(tmp_path / "data" / "manifest.json", {})
    go = (file, "--out", out, "--earlier", first)
    told = json.loads(vt(*go, "--dry-run", "--json", "--given", f"curated={tmp_path / 'data'}").stdout)
    waiting = {cell["name"] for cell in told["cells"] if cell["state"] == "waiting"}
    assert {cell.name for cell in plan if is_new(cell)} <= waiting
    assert "grpo-s1" not in waiting
    assert not out.exists()
    with pytest.raises(VtError, match=r"the weights of bias-s1, bias-s2.* stayed on another machine"):
        vt(*go, "--claims", "2")
    with pytest.raises(VtError, match=r"were run with another command.*--redo"):
        vt(file, "--out", tmp_path / "other", "--earlier", first, "--report-only", "--set", "train.steps=50")
    assert not list((tmp_path / "other").glob("*/*"))  # so that the folder is as good as before
    given = ("--given", f"curated={tmp_path / 'data'}")
    assert vt(file, "--out", tmp_path / "other", "--earlier", first, *given, "--claims", "1", "--no-report").exit_code == 0
    assert not (tmp_path / "other" / "diary").exists()
    assert vt(*go, "--claims", "1", "--no-report").exit_code == 0
    assert not (out / "diary").exists()  # all that claim 1 rests on was there
    assert "another command" not in vt(file, "--out", out, "--dry-run", *given).output
    assert vt(file, "--out", out, "--report-only").exit_code == 0
    after = store.read_json(out / "results.json", Results)
    assert (after.levels, after.verdicts, after.references) == (before.levels, before.verdicts, before.references)
    assert "follow from the answers" in vt(file, "--out", out, "--recompute").output


def test_a_dry_run_shows_data_that_are_made_again_as_waiting(tmp_path: Path, first_piece: First) -> None:
    """The record of the data says that they are finished, elsewhere: where cells need them, they are made or given again."""
    go = (tmp_path / "study.toml", "--out", tmp_path / "out", "--earlier", tmp_path / "first", "--dry-run", "--json")

    def dry(*options: str) -> tuple[str, str]:
        shown = vt(*go, *options)
        (state,) = (cell["state"] for cell in json.loads(shown.stdout)["cells"] if cell["name"] == "curated")
        return state, " ".join(shown.stderr.split())

    state, said = dry()
    assert state == "waiting"
    assert "finished elsewhere, not here and needed, so made again: curated; if they are at hand, give" in said
    store.write_json(tmp_path / "data" / "manifest.json", {})
    for options in (("--claims", "1"), ("--given", f"curated={tmp_path / 'data'}")):  # which needs none; which brings them
        state, said = dry(*options)
        assert state == "finished"
        assert "made again:" not in said
        assert "is not here" not in said


def test_a_dry_run_asks_for_data_that_cannot_be_made_again(tmp_path: Path, first_piece: First) -> None:
    study, plan, _ = first_piece
    record = read_records(plan, tmp_path / "first")["curated"]
    given = msgspec.structs.replace(record, given=True, command="given: elsewhere")
    store.write_json(record_file(tmp_path / "first", "curated"), given)
    report(study, plan, tmp_path / "first")
    go = (tmp_path / "study.toml", "--out", tmp_path / "out", "--earlier", tmp_path / "first", "--dry-run")
    said = " ".join(vt(*go).output.split())
    assert "'curated' was given as a folder that is not here: vt study wants it with --given curated=FOLDER" in said
    assert "made again" not in said


def test_what_data_are_made_of_is_looked_for_where_they_are_made_again(tmp_path: Path) -> None:
    text = SMALL.replace("[prepare.curated]", f'[paths]\nlabels = "{tmp_path}/none"\n\n[prepare.curated]')
    _, plan = make_study(tmp_path, text.replace("--annotations a", "--annotations {labels}"))
    out = tmp_path / "out"
    for cell in plan:
        if cell.name != "greedy.base":
            record = Record(identity=cell.identity, state=State.FINISHED, command="vt", packed=True)
            store.write_json(record_file(out, cell.name), record)
    refused = vt(tmp_path / "study.toml", "--out", out)
    assert refused.exit_code == 2
    assert f"error: paths.labels: there is no {tmp_path}/none" in refused.stderr
    assert not (out / "cells").exists()
    (tmp_path / "none").touch()
    left = vt(tmp_path / "study.toml", "--out", out, "--max-minutes", "0", "--no-report")
    assert "time is up: 2 cells are left" in left.stderr
    assert "goes on with curated, greedy.base" in left.stderr


def test_a_study_whose_earlier_answers_are_gone_says_so(tmp_path: Path, first_piece: First) -> None:
    file, out, first = tmp_path / "study.toml", tmp_path / "out", tmp_path / "first"
    assert "are not here" not in vt(file, "--out", out, "--report-only", "--earlier", first).output
    shutil.rmtree(out / "earlier")
    said = " ".join(vt(file, "--out", out, "--report-only").output.split())
    assert "the answers of 19 finished askings are not here, so no number rests on them: greedy.base" in said
    with pytest.raises(VtError, match=r"is --out itself"):
        vt(file, "--out", out, "--report-only", "--earlier", out)


def test_what_needs_weights_is_made_again_if_that_is_asked_for(
    tmp_path: Path, first_piece: First, monkeypatch: pytest.MonkeyPatch
) -> None:
    """cdpo needs the bias models' weights, and its data; grpo and its answers stay, and the next call has nothing to do."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(run, "VT", (sys.executable, str(Path(__file__).with_name("stub_vt.py"))))
    out = tmp_path / "out"
    go = (tmp_path / "study.toml", "--out", out, "--earlier", tmp_path / "first", "--claims", "2", "--no-report")
    assert vt(*go, "--redo", "--set", "schedule.cpu_jobs=4").exit_code == 0
    diary = (out / "diary").read_text()
    started = {name for what, name, *_ in map(json.loads, diary.splitlines()) if what == "start"}
    assert started == {"curated", *(f"{arm}-s{seed}" for arm in ("bias", "cdpo", "greedy.cdpo") for seed in (1, 2))}
    assert vt(*go).exit_code == 0
    assert (out / "diary").read_text() == diary
