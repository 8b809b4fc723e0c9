"""Under which rule of text positions a diagnosis asks: the checkpoint's own, unless it is told otherwise, and it says so."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from diagnose.asking import replies

from videothinker import store
from videothinker.cli import app
from videothinker.curated import Curated
from videothinker.diagnose import run
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.errors import VtError
from videothinker.models.text_positions import TextPositions

ORIGINAL, THEIRS = TextPositions.ORIGINAL, TextPositions.TRANSFORMERS


def with_mark(checkpoint: Path, folder: Path, rule: TextPositions | None) -> Path:
    """A copy of a checkpoint with another mark, or none."""
    shutil.copytree(checkpoint, folder)
    config = store.read_json(folder / "config.json", dict[str, Any])
    config.pop("text_positions")
    store.write_json(folder / "config.json", config | ({"text_positions": rule} if rule else {}))
    return folder


def planned(ref: str | Path, curated: Curated, out: Path, **options: Any) -> tuple[TextPositions | None, list[str]]:
    """The rule that a plan comes to, and what it warns of."""
    said: list[str] = []
    chosen = {key: options.pop(key) for key in ("text_positions",) if key in options}
    [job] = run.plan({"it": str(ref)}, curated, DiagnosisSettings(split="dev", **chosen), out, warn=said.append, **options)
    run.release([job])
    assert job.record.settings["text_positions"] == job.settings.text_positions
    return job.settings.text_positions, said


def test_a_checkpoint_is_asked_under_its_own_rule_and_another_is_said(taught: Path, colours: Curated, tmp_path: Path) -> None:
    ours = with_mark(taught, tmp_path / "ours", None)
    assert planned(taught, colours, tmp_path / "a") == (ORIGINAL, [])
    assert planned(ours, colours, tmp_path / "b") == (THEIRS, [])
    assert planned(ours, colours, tmp_path / "c", text_positions=THEIRS) == (THEIRS, [])
    rule, [warning] = planned(ours, colours, tmp_path / "d", text_positions=ORIGINAL)
    assert rule is ORIGINAL
    assert warning == (
        f"{ours}: was trained with text positions 'transformers', and is asked under 'original' as --text-positions says"
    )
    assert planned("solver:gold", colours, tmp_path / "e", text_positions=THEIRS) == (None, [])
    assert planned("nobody/has-this", colours, tmp_path / "f") == (None, [])


def test_servers_have_the_original_rule(taught: Path, colours: Curated, tmp_path: Path) -> None:
    ours, served = with_mark(taught, tmp_path / "ours", None), {"endpoints": ["http://localhost:1/v1"]}
    assert planned(taught, colours, tmp_path / "a", **served) == (None, []), "what it really has is not known"
    assert planned("a-name", colours, tmp_path / "b", **served) == (None, [])
    with pytest.raises(VtError, match="servers such as vLLM have 'original'; leave out --endpoint"):
        planned(ours, colours, tmp_path / "c", **served)
    assert planned(ours, colours, tmp_path / "c", text_positions=THEIRS, **served) == (THEIRS, [])
    rule, [_] = planned(ours, colours, tmp_path / "c", text_positions=ORIGINAL, **served)
    assert rule is ORIGINAL


def diagnose(curated: Curated, ref: Path, out: Path, *options: str) -> None:
    asked = ["--model", f"it={ref}", "--data", str(curated.folder), "--out", str(out), "--limit", "2", "--no-report"]
    with pytest.raises(SystemExit) as end:
        app(["diagnose", *asked, "--max-new-tokens", "40", "--no-clip-cache", *options])
    assert end.value.code == 0


def test_run_json_says_the_rule_and_no_run_mixes_two(
    taught: Path, colours: Curated, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    diagnose(colours, taught, out, "--text-positions", "transformers")
    assert "and is asked under 'transformers'" in capsys.readouterr().err
    record = store.read_json(out / "it" / "run.json", dict[str, Any])
    assert record["settings"]["text_positions"] == record["fed"]["text_positions"] == "transformers"
    with pytest.raises(VtError, match='text_positions was "transformers", is "original"'):
        diagnose(colours, taught, out)
    # A run of an earlier version says nothing, and was asked under transformers' rule.
    del record["settings"]["text_positions"], record["settings"]["revision"]
    store.write_json(out / "it" / "run.json", record)
    with pytest.raises(VtError, match='text_positions was "transformers", is "original"'):
        diagnose(colours, taught, out)
    diagnose(colours, taught, out, "--text-positions", "transformers")


def test_a_revision_is_of_one_checkpoint_on_the_hub(taught: Path, colours: Curated, tmp_path: Path) -> None:
    asked = DiagnosisSettings(split="dev", revision="abc")
    refused: list[tuple[dict[str, str], dict[str, str], str]] = [
        ({"a": str(taught)}, {}, "is a folder here, and only a checkpoint on the hub has revisions"),
        ({"a": "served"}, {"endpoints": ["http://localhost:1/v1"]}, "is what a server has loaded"),
        ({"a": "x/y", "b": "x/z"}, {}, "is of one checkpoint, and there are x/y, x/z; ask each in its own run"),
    ]
    for models, options, message in refused:
        with pytest.raises(VtError, match=message):
            run.plan(models, colours, asked, tmp_path, **options)
    jobs = run.plan({"a": "x/y", "b": "solver:gold"}, colours, asked, tmp_path)
    run.release(jobs)
    assert [job.record.settings["revision"] for job in jobs] == ["abc", "abc"]


class Silent:
    """Answers nothing, and says of its checkpoint what a loaded one says."""

    def __init__(self, rule: str | None) -> None:
        self._rule = rule

    def answer(self, questions: Sequence[Any]) -> Any:
        return iter(())

    def describe(self) -> dict[str, Any]:
        return {"text_positions": self._rule}


@pytest.mark.parametrize(("found", "goes_on"), [("transformers", THEIRS), (None, None)])
def test_what_a_checkpoint_of_the_hub_turns_out_to_be_is_kept(
    colours: Curated, tmp_path: Path, found: str | None, goes_on: TextPositions | None
) -> None:
    """Nothing is known of it when the run is planned; a resumed one goes on by what the first found."""
    [job] = run.plan({"it": "nobody/has-this"}, colours, DiagnosisSettings(split="dev"), tmp_path)
    with pytest.raises(RuntimeError, match="unanswered"):
        run.diagnose([job], lambda _: Silent(found))
    assert store.read_json(tmp_path / "it" / "run.json", dict[str, Any])["settings"]["text_positions"] == found
    assert planned("nobody/has-this", colours, tmp_path) == (goes_on, [])


def test_engines_agree_under_either_rule(taught: Path, colours: Curated) -> None:
    for rule in TextPositions:
        one, other = (replies(taught, colours, engine=name, text_positions=rule) for name in ("graphs", "transformers"))
        assert one == other
