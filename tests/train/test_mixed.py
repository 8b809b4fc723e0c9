"""Questions about clips, about one image and about nothing, in one batch: each is seen as it is shown, and scored so."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mixed_set import write_image, write_set
from PIL import Image
from train import plain_scores
from train.trainers import mixed, stage
from transformers import AutoModelForImageTextToText, AutoProcessor

from videothinker import answers
from videothinker.errors import VtError
from videothinker.footage import Footage
from videothinker.models.checkpoint import find_checkpoint
from videothinker.records import Form
from videothinker.train import run
from videothinker.train.arguments import grpo_arguments
from videothinker.train.build import build_trainer
from videothinker.train.clips import NOTHING, PromptEncoder, scoring_inputs, share_vision, showing
from videothinker.train.data import ClipPrompt, TrainingRow, training_rows
from videothinker.train.rewards import Reward


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDEOTHINKER_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def prompts(assets: Path, tmp_path: Path) -> list[ClipPrompt]:
    image = Footage(write_image(tmp_path / "picture.png"))
    return [
        ClipPrompt(Footage(assets / "clip0.mp4"), "what happens?"),
        ClipPrompt(None, "what is 3 + 4?"),
        ClipPrompt(image, "what is there?"),
        ClipPrompt(Footage(assets / "clip2.mp4"), "and here?"),
        ClipPrompt(image, "how many?"),
    ]


@pytest.fixture
def model(assets: Path) -> Any:
    return AutoModelForImageTextToText.from_pretrained(assets / "start", dtype=torch.float32)


@pytest.fixture
def encode(assets: Path, model: Any) -> PromptEncoder:
    processor = AutoProcessor.from_pretrained(assets / "start")
    return PromptEncoder(
        processor, n_frames=4, max_pixels=12 * 784, image_max_pixels=12 * 784, video_token=model.config.video_token_id
    )


def test_each_kind_has_its_own_tokens(encode: PromptEncoder, prompts: list[ClipPrompt]) -> None:
    """The image of 56 x 84 pixels is 2 x 3 tokens; the clips are two pairs of 2 x 3 and of 3 x 4."""
    encoded = encode(prompts)
    assert encoded.rows == [0, NOTHING, 1, 2, 1]
    assert [(clip.grid, clip.is_image) for clip in encoded.clips] == [
        ((2, 4, 6), False),
        ((1, 4, 6), True),
        ((2, 6, 8), False),
    ]
    counts = [(ids.count(encode.video_token), ids.count(encode.image_token)) for ids in encoded.prompt_ids]
    assert counts == [(12, 0), (0, 0), (0, 6), (24, 0), (0, 6)]


def test_an_image_is_cut_as_the_processor_cuts_it(encode: PromptEncoder, prompts: list[ClipPrompt]) -> None:
    image = encode([prompts[2]]).clips[0]
    theirs = encode.processor(
        text=["<|image_pad|>"],
        images=[Image.open(prompts[2].clip.path)],  # type: ignore[union-attr]
        size={"shortest_edge": encode.processor.image_processor.size["shortest_edge"], "longest_edge": 12 * 784},
        return_tensors="pt",
    )
    assert theirs["image_grid_thw"].tolist() == [list(image.grid)]
    assert torch.allclose(image.patches, theirs["pixel_values"], atol=1e-5)


def alone(model: Any, encode: PromptEncoder, prompt: ClipPrompt, ids: list[int]) -> torch.Tensor:
    """The logits of one prompt by itself, by transformers' own way."""
    inputs: dict[str, Any] = {"mm_token_type_ids": torch.zeros(1, len(ids), dtype=torch.int)}
    if prompt.clip is not None:
        clip = encode([prompt]).clips[0]
        kind = "image" if clip.is_image else "video"
        token = encode.image_token if clip.is_image else encode.video_token
        inputs["mm_token_type_ids"] = (1 if clip.is_image else 2) * (torch.tensor([ids]) == token).int()
        inputs[f"{kind}_grid_thw"] = torch.tensor([clip.grid])
        inputs["pixel_values" if clip.is_image else "pixel_values_videos"] = clip.patches
        if not clip.is_image:
            inputs["second_per_grid_ts"] = torch.tensor([clip.seconds_per_pair])
    found: torch.Tensor = model(input_ids=torch.tensor([ids]), **inputs).logits[0]
    return found


def test_a_mixed_batch_is_scored_as_its_rows_alone(model: Any, encode: PromptEncoder, prompts: list[ClipPrompt]) -> None:
    encoded = encode(prompts)
    expected = [alone(model, encode, prompt, ids) for prompt, ids in zip(prompts, encoded.prompt_ids, strict=True)]
    width, pad = max(map(len, encoded.prompt_ids)), encode.processor.tokenizer.pad_token_id
    ids = torch.tensor([[pad] * (width - len(row)) + row for row in encoded.prompt_ids])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in encoded.prompt_ids])
    share_vision(model)
    inputs = scoring_inputs(model.config, encoded.clips, encoded.rows, ids, mask)
    with showing(encoded.clips, encoded.rows):
        logits = model(input_ids=ids, attention_mask=mask, **inputs).logits
    for row, theirs in enumerate(expected):
        assert torch.allclose(logits[row, -len(theirs) :], theirs, atol=2e-4), row


def test_an_image_that_is_not_seen_is_not_scored(model: Any, encode: PromptEncoder, prompts: list[ClipPrompt]) -> None:
    encoded = encode([prompts[2]])
    ids = torch.tensor(encoded.prompt_ids)
    with pytest.raises(VtError, match=r"hold \[6\] video tokens, their clips make \[0\]"):
        scoring_inputs(model.config, encoded.clips, [NOTHING], ids, torch.ones_like(ids))


def rows(prompts: list[ClipPrompt]) -> list[TrainingRow]:
    return [
        {
            "prompt": prompt,
            "question_id": str(i),
            "gold": ["7"],
            "n_options": 0,
            "form": Form.NUMBER,
            "style": answers.Style.COT,
        }
        for i, prompt in enumerate(prompts)
    ]


def trainer_of(assets: Path, out: Path, prompts: list[ClipPrompt], *overrides: str, name: str = "grpo") -> Any:
    config = stage(name, "rollouts.questions_per_step=5", "data.image_max_pixels=9408", *overrides)
    reference = find_checkpoint(str(assets / "bias")) if name == "cdpo" else None
    args = grpo_arguments(config, out)
    args.save_strategy = "no"
    start = find_checkpoint(str(assets / "start"))
    return build_trainer(config, args, start, reference, rows(prompts), rewards={"mixed": Reward(mixed, weight=1.0)})


@pytest.mark.parametrize("engine", ["graphs", "transformers"])
@pytest.mark.parametrize("frozen", [False, True])
def test_a_mixed_batch_is_trained_on(
    assets: Path, tmp_path: Path, prompts: list[ClipPrompt], engine: str, frozen: bool
) -> None:
    """TRL's path, with the log-probabilities of each reply held against one plain forward pass."""
    vision = f"model.train_vision={'false' if frozen else 'true'}"
    trainer = trainer_of(assets, tmp_path / "out", prompts, f"rollouts.engine={engine}", vision)
    trainer.train()
    asked = {one.question_id for one in trainer.completions}
    assert asked == {"0", "1", "2", "3", "4"}
    logged = [row for row in trainer.state.log_history if "loss" in row]
    assert all(np.isfinite(row["loss"]) for row in logged)
    assert trainer.fed().n_frames == 4
    if frozen:
        assert trainer.fed().vision.n_seen == 3, "two clips and an image"


def test_the_scores_of_replies_are_those_of_plain_passes(assets: Path, tmp_path: Path, prompts: list[ClipPrompt]) -> None:
    trainer = trainer_of(assets, tmp_path / "out", prompts)
    batch = trainer._generate_and_score_completions([row for row in rows(prompts) for _ in range(4)])
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
    n_scored = batch["completion_ids"].size(1)
    with torch.no_grad():
        scored = trainer._get_per_token_logps_and_entropies(
            trainer.model, ids, mask, n_scored, 20, token_type_ids=batch["token_type_ids"]
        )[0]
        plain = AutoModelForImageTextToText.from_pretrained(assets / "start", dtype=torch.float32)
        for row in range(0, 20, 3):
            prompt, reply = plain_scores.unpadded(batch, row)
            logits = alone(plain, trainer._encode, prompts[row // 4], prompt + reply)[len(prompt) - 1 : -1]
            expected = logits.log_softmax(-1).gather(1, torch.tensor(reply)[:, None])[:, 0]
            assert torch.allclose(scored[row][: len(reply)], expected, atol=5e-4), row


def test_a_reference_sees_the_same_mix(assets: Path, tmp_path: Path, prompts: list[ClipPrompt]) -> None:
    trainer = trainer_of(assets, tmp_path / "out", prompts, "objective.reference_clip=blank", name="cdpo")
    trainer.train()
    assert all(np.isfinite(row["kl"]) for row in trainer.state.log_history if "kl" in row)


def test_texts_alone_are_trained_on(assets: Path, tmp_path: Path, prompts: list[ClipPrompt]) -> None:
    texts = [ClipPrompt(None, f"what is {n} + 1?") for n in range(5)]
    trainer = trainer_of(assets, tmp_path / "out", texts)
    trainer.train()
    assert trainer.fed().n_frames == 0


def test_a_set_of_all_kinds_is_curated_and_trained_on(assets: Path, tmp_path: Path) -> None:
    data = write_set(tmp_path)
    kinds = {one.question.question_id: one.question.kind.value for one in data.members}
    assert kinds == {"1": "clip", "2": "clip", "3": "image", "4": "text"}
    assert [one.question.group for one in data.members] == ["a.mp4", "b.mp4", "c.png", "4"]
    config = stage("grpo", "model.train_vision=false", "rollouts.questions_per_step=4", "optimizer.steps=1")
    lines: list[str] = []
    done = run.train(config, data=data, start=str(assets / "start"), out=tmp_path / "out", tell=lines.append)
    assert done.result.n_asked == 4
    assert lines[0] == "questions: clip 2, image 1, text 1; answers: number 3, interval 1 (graded by score)"
    assert lines[1].startswith("vision tower: frozen, so it sees each clip once; kept in up to 4 GiB of memory")
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["data"]["shown"] == {"clip": 2, "image": 1, "text": 1}
    step = json.loads((tmp_path / "out" / "metrics.jsonl").read_text().splitlines()[0])
    assert step["replies_about"] == {"clip": 8, "image": 4, "text": 4}


def test_a_missing_image_is_told(assets: Path, tmp_path: Path) -> None:
    data = write_set(tmp_path)
    (tmp_path / "videos" / "c.png").unlink()
    with pytest.raises(VtError, match=r"1 of 4 training questions lack their clip or image, the first is .*c\.png"):
        training_rows(data, data.questions("train"), stage("grpo"))


def test_what_has_no_frames_has_no_order_of_frames(tmp_path: Path) -> None:
    data = write_set(tmp_path)
    config = stage("grpo", "rollouts.shuffled=2", "rewards.ordered=0.3", "rewards.accuracy=1.0")
    with pytest.raises(VtError, match=r"rollouts.shuffled = 2: 2 of 4 training questions show no clip"):
        training_rows(data, data.questions("train"), config)
