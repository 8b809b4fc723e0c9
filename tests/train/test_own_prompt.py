"""A prompt of one's own from training to diagnosis: saved beside the weights, used again, said, and overridden only aloud."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from curated_factory import a_question, write_curated
from train.trainers import make_trainer, stage, write_clip
from vt_command import one_error, vt

from videothinker import prompts, store
from videothinker.answers import Style
from videothinker.curated import Curated
from videothinker.errors import VtError
from videothinker.models.saved_prompt import PROMPT, own_prompt
from videothinker.train import run

MINE = """{% set style = "direct" %}
{% block system %}Watch closely.{% endblock %}
Q: {{ question }}
{% for letter in letters %}
{{ letter }}) {{ options[loop.index0] }}
{% endfor %}
Answer inside <answer></answer>.
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDEOTHINKER_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    (tmp_path / "mine.jinja").write_text(MINE)
    return tmp_path / "mine.jinja"


@pytest.fixture
def curated(tmp_path: Path) -> Curated:
    questions = {
        split: [a_question(f"{first + scene}:0", gold="A", observer="B", n_options=2) for scene in range(2)]
        for split, first in {"train": 0, "dev": 10}.items()
    }
    for asked in (one for members in questions.values() for one in members):
        write_clip(tmp_path / "curated" / "videos" / asked.question.clip.path, 56, 84, 30 * (asked.scene_index % 10))
    return write_curated(tmp_path / "curated", questions, videos_root="videos")


def settings_of(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = store.read_json(out / "run.json", dict[str, Any])["settings"]
    return found


def test_a_checkpoint_is_asked_the_way_it_was_trained(
    curated: Curated, assets: Path, mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = tmp_path / "trained"
    config = stage("grpo", f"data.prompt={mine}", "saving.save_every=1")
    run.train(config, data=curated, start=str(assets / "start"), out=trained)
    asked = prompts.find(str(mine))
    assert asked.template is not None
    assert [own_prompt(folder) for folder in (trained, trained / "checkpoint-1", trained / "checkpoint-2")] == [asked] * 3
    assert settings_of(trained)["data"]["template"] == {"sha256": asked.template.sha256, "text": MINE}

    moved = shutil.move(mine, tmp_path / "moved.jinja")
    again = stage("grpo", f"data.prompt={moved}", "saving.save_every=1")
    assert run.train(again, data=curated, start=str(assets / "start"), out=trained).already
    Path(moved).write_text(MINE + "!")
    with pytest.raises(VtError, match=r"settings\.data\.template\.sha256 was"):
        run.train(stage("grpo", f"data.prompt={moved}"), data=curated, start=str(assets / "start"), out=trained)
    Path(moved).write_text(MINE)

    out = tmp_path / "out"
    models = ["--model", f"plain={assets / 'start'}", "--model", f"mine={trained}", "--model", "solver:gold"]
    options = ["diagnose", "--data", curated.folder, "--max-new-tokens", "4", "--frames", "4", *models]
    capsys.readouterr()
    assert vt(*options, "--out", out) == 0
    printed = capsys.readouterr()
    assert f"the training of {trained} sets prompt direct, template {asked.template.sha256[:12]}" in printed.err
    assert f"asked with the prompts: plain cot; mine template {asked.template.sha256[:12]} (direct)" in printed.out
    assert (settings_of(out / "plain")["prompt"], settings_of(out / "plain")["template"]) == ("cot", None)
    assert settings_of(out / "mine")["template"]["text"] == MINE
    for page in ("report.html", "report.md"):
        assert f"template {asked.template.sha256[:12]} (direct)" in (out / page).read_text()

    assert vt(*options, "--out", out) == 0, "resumed"
    capsys.readouterr()
    assert vt(*options, "--out", out, "--prompt", "cot") == 2
    assert 'settings.prompt was "direct", is "cot"' in one_error_after_warning(capsys)

    assert vt(*options, "--out", tmp_path / "shown", "--show-prompt") == 0
    shown = capsys.readouterr().out
    first = curated.questions("dev")[0]
    assert f"Q: {first.text}\nA) {first.options[0]}\nB) {first.options[1]}\nAnswer inside <answer></answer>." in shown
    assert shown.count("Watch closely.") == 1
    assert "Think step by step inside <think></think>" in shown
    assert not (tmp_path / "shown").exists()

    assert vt(*options, "--out", tmp_path / "shown", "--show-prompt", "--prompt", "direct") == 0
    said = capsys.readouterr()
    assert f"{trained}: was trained with the prompt template" in said.err
    assert "and is asked in direct, as --prompt says" in said.err
    assert "Q: " not in said.out


def one_error_after_warning(capsys: pytest.CaptureFixture[str]) -> str:
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    return line


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('{% set style = "cot" %}\n{{ question }}', "leaves out options A, B of a question of the form letters"),
        ('{% set style = "cot" %}\n{{ questoin }}', "line 2: there is no questoin"),
        ("{{ question }} {{ options }}", "does not say how replies are laid out"),
    ],
)
def test_a_faulty_prompt_ends_in_one_line(
    text: str, what: str, curated: Curated, mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine.write_text(text)
    start = ["--model", str(tmp_path / "start"), "--out", str(tmp_path / "out"), "--data", str(curated.folder)]
    (tmp_path / "start").mkdir()
    assert vt("diagnose", *start, "--prompt", mine) == 2
    assert what in one_error(capsys)
    assert not (tmp_path / "out").exists()


def test_the_words_of_a_protocol_have_to_be_someones(
    curated: Curated, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["diagnose", "--data", curated.folder, "--model", tmp_path, "--out", tmp_path / "out", "--prompt", "protocol"]
    assert vt(*options) == 2
    assert "--prompt protocol: whose words?" in one_error(capsys)


def test_settings_name_a_template_and_do_not_hold_it(mine: Path) -> None:
    config = stage("grpo", f"data.prompt={mine}")
    assert config.data.prompt is Style.DIRECT
    assert config.data.asked == prompts.find(str(mine))
    with pytest.raises(VtError, match=r"data\.template: is read from a file; name that in data\.prompt"):
        stage("grpo", "data.template=x")
    with pytest.raises(VtError, match=r"data\.prompt: prompt nothing: is neither a file nor one of cot, direct"):
        stage("grpo", "data.prompt=nothing")


def test_an_adapter_has_its_prompt_beside_it(assets: Path, mine: Path, tmp_path: Path) -> None:
    config = stage("grpo", f"data.prompt={mine}", "lora.rank=4")
    make_trainer(assets, tmp_path / "out", config, save_strategy="no").save_policy(tmp_path / "out")
    assert (tmp_path / "out" / "adapter_config.json").is_file()
    assert (tmp_path / "out" / PROMPT).is_file()
    assert own_prompt(tmp_path / "out") == prompts.find(str(mine))
