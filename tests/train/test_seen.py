"""A frozen vision tower sees each clip once, and nothing else changes."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from train.trainers import make_trainer, stage
from transformers import AutoModelForImageTextToText, AutoProcessor

from videothinker.clip_cache import ClipCache
from videothinker.footage import Footage
from videothinker.train.clips import ClipTensors, PromptEncoder
from videothinker.train.data import ClipPrompt
from videothinker.train.seen import VisionCache, fingerprint, is_frozen, vision_disk

FROZEN = ("model.train_vision=false", "optimizer.steps=3")
NOTHING_KEPT = ("model.vision_cache_gib=0", "model.vision_spill_gib=0")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDEOTHINKER_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def model(assets: Path) -> Any:
    return AutoModelForImageTextToText.from_pretrained(assets / "start", dtype=torch.float32).requires_grad_(False)


@pytest.fixture
def clips(assets: Path, model: Any) -> list[ClipTensors]:
    """Three clips of 12, 18 and 24 tokens."""
    processor = AutoProcessor.from_pretrained(assets / "start")
    encode = PromptEncoder(processor, n_frames=4, max_pixels=12 * 784, video_token=model.config.video_token_id, keyed=True)
    return encode([ClipPrompt(Footage(assets / f"clip{i}.mp4"), "?") for i in range(3)]).clips


def calls(tower: Any) -> list[int]:
    """The patches that the tower is shown from now on, call by call."""
    found: list[int] = []
    tower.patch_embed.register_forward_pre_hook(lambda _m, args, kwargs: found.append(len(args[0])), with_kwargs=True)
    return found


def steps(
    assets: Path, out: Path, *overrides: str, name: str = "grpo", engine: str = "graphs"
) -> tuple[Any, list[Any], list[int]]:
    """A trainer after its steps, what it logged, and what its tower was shown."""
    torch.manual_seed(0)
    trainer = make_trainer(assets, out, stage(name, *FROZEN, f"rollouts.engine={engine}", *overrides), save_strategy="no")
    shown = calls(trainer.model.model.visual)
    trainer.train()
    return trainer, [row for row in trainer.state.log_history if "loss" in row], shown


@pytest.mark.parametrize("engine", ["graphs", "transformers"])
def test_losses_and_weights_are_those_without_it(assets: Path, tmp_path: Path, engine: str) -> None:
    ours, kept, shown = steps(assets, tmp_path / "a", engine=engine)
    plain, seen, all_shown = steps(assets, tmp_path / "b", *NOTHING_KEPT, engine=engine)
    assert [row["loss"] for row in kept] == pytest.approx([row["loss"] for row in seen], abs=1e-6)
    assert [row["grad_norm"] for row in kept] == pytest.approx([row["grad_norm"] for row in seen], rel=1e-4)
    moved = 0.0
    for (name, one), other in zip(ours.model.state_dict().items(), plain.model.state_dict().values(), strict=True):
        assert torch.allclose(one, other, atol=1e-6), name
    start = AutoModelForImageTextToText.from_pretrained(assets / "start", dtype=torch.float32).state_dict()
    for name, value in ours.model.state_dict().items():
        moved += float((value - start[name]).abs().sum()) if name in start else 0.0
    assert moved > 1e-3, "nothing was trained, so nothing was compared"
    assert sum(shown) == 4 * (12 + 18 + 24), "each of the three clips once, of four patches per token"
    assert sum(all_shown) > 3 * sum(shown)


def test_what_was_kept_is_counted(assets: Path, tmp_path: Path) -> None:
    trainer, logged, _ = steps(assets, tmp_path)
    counts = trainer.fed().vision
    assert (counts.n_seen, counts.n_from_disk) == (3, 0)
    assert counts.n_shown == counts.n_seen + counts.n_from_memory + counts.n_from_disk
    assert counts.n_from_memory > 3
    shares = [row["vision_kept_share"] for row in logged]
    assert shares[0] < 1
    assert shares[-1] == 1.0
    nothing, logged, _ = steps(assets, tmp_path / "b", *NOTHING_KEPT)
    assert "vision_kept_share" not in logged[0]
    assert not nothing.fed().vision


def test_a_reference_has_entries_of_its_own(assets: Path, tmp_path: Path) -> None:
    """The bias model's tower has other weights; the anchor's start is the policy's own frozen tower."""
    trainer, kept, _ = steps(assets, tmp_path / "a", "objective.anchor=0.1", name="cdpo")
    _, seen, _ = steps(assets, tmp_path / "b", "objective.anchor=0.1", *NOTHING_KEPT, name="cdpo")
    assert trainer.fed().vision.n_seen == 6, "three clips for each of two towers"
    for name in ("loss", "kl", "anchor_kl"):
        assert [row[name] for row in kept] == pytest.approx([row[name] for row in seen], abs=1e-5), name


def test_a_trained_tower_is_never_kept(assets: Path, tmp_path: Path, model: Any, clips: list[ClipTensors]) -> None:
    trainer = make_trainer(assets, tmp_path, stage("grpo"), save_strategy="no")
    assert trainer._vision is None
    cache = VisionCache(2**30)
    model.model.visual.merger.requires_grad_(True)
    shown = calls(model.model.visual)
    for _ in range(2):
        seen = cache.see(model, clips)
        assert seen[0].features.requires_grad
    assert len(shown) == 2
    assert cache.counts.n_shown == 0


def test_adapters_on_the_tower_are_never_kept(model: Any) -> None:
    """Which of them is active may change, so a frozen one is not the same for the whole run either."""
    assert is_frozen(model.model.visual)
    inject_adapter_in_model(LoraConfig(r=2, target_modules=["qkv"]), model.model.visual)
    model.requires_grad_(False)
    assert not is_frozen(model.model.visual)


def test_what_memory_has_no_room_for_goes_to_disk(model: Any, clips: list[ClipTensors], tmp_path: Path) -> None:
    plain = VisionCache(0).see(model, clips, frozen=False)
    n_bytes = [one.features.nbytes for one in plain]
    assert len(set(n_bytes)) == 3
    disk = ClipCache(tmp_path / "vision", 2**30)
    cache = VisionCache(n_bytes[0], disk)  # room for the first alone
    shown = calls(model.model.visual)
    for _ in range(2):
        for one, other in zip(cache.see(model, clips), plain, strict=True):
            assert torch.allclose(one.features, other.features, atol=1e-6)
            assert (one.grid, one.seconds_per_pair) == (other.grid, other.seconds_per_pair)
    assert len(shown) == 1
    counts = cache.counts
    assert (counts.n_shown, counts.n_seen, counts.n_from_memory, counts.n_from_disk) == (6, 3, 1, 2)
    again = VisionCache(2**30, disk)
    again.see(model, clips)
    assert (again.counts.n_seen, again.counts.n_from_disk) == (1, 2), "a later run finds what was spilled"
    again.see(model, clips)
    assert again.counts.n_from_memory == 3


def test_a_damaged_entry_is_seen_again(model: Any, clips: list[ClipTensors], tmp_path: Path) -> None:
    disk = ClipCache(tmp_path / "vision", 2**30)
    first = VisionCache(0, disk).see(model, clips[:1])
    [path] = (tmp_path / "vision").glob("*.frames")
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    cache = VisionCache(0, disk)
    assert torch.equal(cache.see(model, clips[:1])[0].features, first[0].features)
    assert (cache.counts.n_seen, cache.counts.n_from_disk) == (1, 0)


def test_other_weights_and_other_precision_are_other_towers(model: Any, clips: list[ClipTensors], tmp_path: Path) -> None:
    disk = ClipCache(tmp_path / "vision", 2**30)
    before = fingerprint(model.model.visual)
    VisionCache(0, disk).see(model, clips)
    assert VisionCache(0, disk)._name(model.model.visual, torch.device("cpu")).startswith(before)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = VisionCache(0, disk)
        assert half.see(model, clips)[0].features.dtype == torch.bfloat16
        assert half.counts.n_seen == 3
        assert VisionCache(0, disk).see(model, clips)[0].features.dtype == torch.bfloat16
    with torch.no_grad():
        model.model.visual.merger.mlp[0].weight[0, 0] += 1
    assert fingerprint(model.model.visual) != before
    other = VisionCache(0, disk)
    other.see(model, clips)
    assert other.counts.n_seen == 3


def test_a_damaged_clip_is_another_clip(assets: Path, model: Any) -> None:
    processor = AutoProcessor.from_pretrained(assets / "start")
    encode = PromptEncoder(processor, n_frames=4, max_pixels=12 * 784, video_token=model.config.video_token_id, keyed=True)
    from videothinker.damage import Damage

    footage = Footage(assets / "clip0.mp4")
    plain = encode([ClipPrompt(footage, "?")]).clips[0]
    blank = encode.damaged([(footage, "")], Damage.BLANK)[0][0]
    assert plain.key
    assert plain.key != blank.key
    assert encode([ClipPrompt(footage, "!")]).clips[0].key == plain.key


def test_no_disk_is_no_disk(tmp_path: Path) -> None:
    assert vision_disk(0) is None
    assert vision_disk(1).folder == tmp_path / "cache" / "vision"  # type: ignore[union-attr]
