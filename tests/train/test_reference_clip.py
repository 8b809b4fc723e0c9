"""The reference that sees a damaged clip, and the policy as its own reference: what is scored, what gets gradients, which way
it pushes, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from train import plain_scores
from train.trainers import make_trainer, rows, stage
from transformers import AutoModelForImageTextToText, AutoProcessor

from videothinker.curated import Curated
from videothinker.damage import Damage, damaged
from videothinker.errors import VtError
from videothinker.footage import Footage
from videothinker.frames import read_clip
from videothinker.models.checkpoint import find_checkpoint
from videothinker.train.arguments import grpo_arguments
from videothinker.train.build import build_trainer, find_reference
from videothinker.train.data import ClipPrompt, training_rows
from videothinker.train.objective import ReferenceClip
from videothinker.train.rewards import Reward


def a_batch(trainer: Any, assets: Path, n: int = 3) -> dict[str, Any]:
    """Replies to n questions about the three clips, four each, and all that the loss needs of them."""
    trainer.model.train()
    batch: dict[str, Any] = trainer._generate_and_score_completions([row for row in rows(assets, n) for _ in range(4)])
    return batch


def load(folder: Path) -> Any:
    return AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)


def plain_reference(
    assets: Path, model: Any, batch: dict[str, Any], damage: Damage, monkeypatch: pytest.MonkeyPatch
) -> list[torch.Tensor]:
    """The replies' log-probabilities, one forward each, on clips that are damaged while they are read."""
    processor = AutoProcessor.from_pretrained(assets / "start")
    found = []
    for row in range(len(batch["prompt_ids"])):
        prompt, reply = plain_scores.unpadded(batch, row)
        clip = plain_scores.clip_of(assets, processor, prompt)
        key = f"42 {row // 4}:0"  # the seed of the stage, and the question's id

        def read(path: Path, key: str = key, **options: Any) -> Any:
            film = read_clip(path, **options)
            return film._replace(frames=damaged(film.frames, damage, key))

        with monkeypatch.context() as patched, torch.no_grad():
            patched.setattr(plain_scores, "read_clip", read)
            found.append(plain_scores.logps(model, processor, clip, prompt, reply))
    return found


@pytest.mark.parametrize("reference", ["bias", "self"])
@pytest.mark.parametrize("damage", [damage for damage in Damage if not damage.is_mask])
def test_the_reference_scores_the_replies_on_the_damaged_clip_and_the_policy_on_the_clip(
    assets: Path, tmp_path: Path, reference: str, damage: Damage, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = stage(
        "cdpo",
        f"objective.reference={reference}",
        f"objective.reference_clip={damage}",
        "rollouts.questions_per_step=3",
    )
    trainer = make_trainer(assets, tmp_path, config, save_strategy="no")
    batch = a_batch(trainer, assets)
    model = load(assets / ("start" if reference == "self" else "bias"))
    expected = plain_reference(assets, model, batch, damage, monkeypatch)
    undamaged = plain_scores.logps  # the policy, whose clip nothing has touched
    processor = AutoProcessor.from_pretrained(assets / "start")
    n_differ = 0
    for row, theirs in enumerate(expected):
        prompt, reply = plain_scores.unpadded(batch, row)
        assert torch.allclose(batch["reference_logps"][row, : len(theirs)], theirs, atol=1e-5)
        with torch.no_grad():
            whole = undamaged(model, processor, plain_scores.clip_of(assets, processor, prompt), prompt, reply)
        n_differ += not torch.allclose(whole, theirs, atol=1e-4)
    assert n_differ == len(expected), "the damage changes no probability, so nothing was tested"
    assert not batch["reference_logps"].requires_grad
    if reference == "self":
        assert trainer.reference is None


def test_damaged_clips_keep_grid_and_times_and_are_shared_where_they_are_the_same(assets: Path, tmp_path: Path) -> None:
    trainer = make_trainer(assets, tmp_path, stage("grpo"), save_strategy="no")
    encode = trainer._encode
    a, b = Footage(assets / "clip0.mp4"), Footage(assets / "clip2.mp4")
    asked = [(a, "42 0:0"), (a, "42 0:1"), (b, "42 2:0"), (a, "42 0:0")]
    whole = encode([ClipPrompt(clip, "?") for clip in (a, b)]).clips
    blank, of = encode.damaged(asked, Damage.BLANK)
    assert of == [0, 0, 1, 0]
    assert [clip[1:] for clip in blank] == [clip[1:] for clip in whole]
    assert [clip.patches.shape for clip in blank] == [clip.patches.shape for clip in whole]
    assert blank[0].patches.unique().numel() == 3, "one grey in three normalised channels"
    _, of = encode.damaged(asked, Damage.SHUFFLED)
    assert of == [0, 1, 2, 0], "an order of its own for each question"


@pytest.mark.parametrize(("direction", "grows"), [("repel", True), ("attract", False)])
def test_self_on_a_blank_clip_makes_replies_depend_on_the_clip_more_or_less(
    colours: Curated, taught: Path, tmp_path: Path, direction: str, grows: bool
) -> None:
    """Without reward, from a checkpoint that looks at its clips; at a temperature that leaves its replies room to move."""
    config = stage(
        "cdpo",
        *("objective.reference=self", "objective.reference_clip=blank", f"objective.direction={direction}"),
        *("objective.repulsion=1.0", "optimizer.steps=8", "optimizer.learning_rate=1e-4", "rollouts.questions_per_step=6"),
        *("rollouts.max_new_tokens=24", "rollouts.temperature=3.0", "data.split=dev", "data.n_frames=16"),
        *("data.max_pixels=18816", "objective.log_gradient_ratio_every=0"),
    )
    args = grpo_arguments(config, tmp_path)
    args.save_strategy = "no"
    asked = training_rows(colours, colours.questions("dev"), config)
    nothing = {"nothing": Reward(lambda completions, **_: [0.0] * len(completions), weight=1.0)}
    trainer = build_trainer(config, args, find_checkpoint(str(taught)), None, asked, rewards=nothing)
    trainer.train()
    kl = [row["kl"] for row in trainer.state.log_history if "kl" in row]
    early, late = kl[0], sum(kl[-3:]) / 3
    assert late > 1.3 * early if grows else late < 0.5 * early


def test_gradients_come_from_the_clip_alone_and_from_no_second_pass(assets: Path, tmp_path: Path) -> None:
    """The gradient is that of an objective whose reference is a constant: with advantages of 0, repulsion * k3 alone."""
    config = stage("cdpo", "objective.reference=self", "objective.reference_clip=blank", "rollouts.questions_per_step=3")
    trainer = make_trainer(
        assets, tmp_path, config, reward_funcs=[lambda completions, **_: [0.0] * len(completions)], save_strategy="no"
    )
    batch = a_batch(trainer, assets)
    trainer._keeps_apart = lambda: False
    trainer.current_gradient_accumulation_steps = 1
    trainer._compute_loss(trainer.model, batch).backward()
    policy, processor = load(assets / "start"), AutoProcessor.from_pretrained(assets / "start")
    terms = []
    for row in range(len(batch["prompt_ids"])):
        prompt, reply = plain_scores.unpadded(batch, row)
        logps = plain_scores.logps(policy, processor, plain_scores.clip_of(assets, processor, prompt), prompt, reply)
        d = batch["reference_logps"][row, : len(reply)] - logps
        terms.append((d.exp() - d - 1).mean())
    (-0.5 * torch.stack(terms).mean()).backward()
    ours = torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None]).double()
    plain = torch.cat([p.grad.flatten() for p in policy.parameters() if p.grad is not None]).double()
    assert plain.norm() > 1e-3
    assert ((ours - plain).norm() / plain.norm()).item() < 1e-4


def test_a_lora_policy_is_its_own_reference_without_dropout(assets: Path, tmp_path: Path, adapter: Path) -> None:
    config = stage("cdpo", "objective.reference=self", "objective.reference_clip=frozen", "lora.rank=4", "lora.dropout=0.5")
    trainer = make_trainer(assets, tmp_path / "out", config, start=adapter, save_strategy="no")
    batch = a_batch(trainer, assets, n=2)
    shown = trainer._shown_to_reference([row for row in rows(assets, 2) for _ in range(4)])
    again = trainer._score_with_reference(batch, *shown)["reference_logps"]
    assert torch.equal(batch["reference_logps"], again), "dropout would draw anew"
    dropping = [module for module in trainer.model.modules() if isinstance(module, torch.nn.Dropout)]
    assert dropping
    assert all(module.training for module in dropping)
    trainer.save_policy(tmp_path / "saved")
    assert (tmp_path / "saved" / "adapter_model.safetensors").is_file()
    assert not (tmp_path / "saved" / "reference").exists()


@pytest.mark.parametrize("kl", ["exact", "reply"])
def test_other_forms_and_a_share_of_the_gradient_work_with_self(assets: Path, tmp_path: Path, kl: str) -> None:
    overrides = [f"objective.kl={kl}", "objective.repulsion=0", "objective.gradient_share=0.2", "objective.reference=self"]
    config = stage("cdpo", *overrides, "objective.reference_clip=reversed", "optimizer.steps=2")
    trainer = make_trainer(assets, tmp_path, config, save_strategy="no")
    trainer.train()
    logged = [row for row in trainer.state.log_history if "kl" in row]
    assert len(logged) == 2
    assert all(row["kl"] > 0 for row in logged)
    assert all(row["repulsion_gradient_ratio"] == pytest.approx(0.2) for row in logged)


def test_on_the_same_clip_the_bias_model_scores_as_it_did_before_there_was_a_choice(assets: Path, tmp_path: Path) -> None:
    """Bit for bit: what scores the replies is handed the very clips that they were written to."""
    trainer = make_trainer(assets, tmp_path, stage("cdpo"), save_strategy="no")
    batch = a_batch(trainer, assets, n=2)
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
    with torch.no_grad():
        before = trainer._get_per_token_logps_and_entropies(trainer.reference, ids, mask, batch["completion_ids"].size(1), 4)
    assert torch.equal(batch["reference_logps"], before[0])


@pytest.mark.parametrize(
    ("name", "overrides", "said"),
    [
        ("cdpo", ["objective.reference=self"], "does not diverge from itself on one clip.*choose a reference_clip of blank"),
        ("cdpo", ["objective.reference=self", "objective.reference_clip=grey"], "objective.reference_clip"),
        (
            "grpo",
            ["objective.reference_clip=blank"],
            "objective.reference_clip = 'blank': only `vt train cdpo` and `vt train auto`",
        ),
        ("bias", ["objective.reference=self"], "objective.reference = 'self': only `vt train cdpo` and `vt train auto`"),
        (
            "cdpo",
            [
                *("objective.reference=self", "objective.reference_clip=blank", "objective.kl=exact"),
                "rollouts.updates_per_batch=2",
            ],
            "the output layer of the policy that wrote the replies is not kept",
        ),
        ("cdpo", ["objective.hold_at=1.5", "objective.reference=start"], "does not diverge from itself"),
    ],
)
def test_what_means_nothing_is_refused(name: str, overrides: list[str], said: str) -> None:
    with pytest.raises(VtError, match=said):
        stage(name, *overrides)


@pytest.mark.parametrize("reference", ["self", "start"])
def test_on_a_damaged_clip_there_is_a_divergence_to_hold_or_take_a_share_of(reference: str) -> None:
    for weight in ("objective.hold_at=1.5", "objective.gradient_share=0.2"):
        without = ["objective.repulsion=0"] if "share" in weight else []
        stage("cdpo", weight, *without, f"objective.reference={reference}", "objective.reference_clip=frozen")


def test_a_bias_model_that_nothing_would_read_is_refused(assets: Path) -> None:
    start = find_checkpoint(str(assets / "start"))
    itself = stage("cdpo", "objective.reference=self", "objective.reference_clip=blank")
    assert find_reference(itself, start, None) is None
    assert find_reference(stage("cdpo", "objective.reference=start"), start, None) == start
    for config in (itself, stage("cdpo", "objective.reference=start")):
        with pytest.raises(VtError, match="nothing would read it; leave it out"):
            find_reference(config, start, str(assets / "bias"))
    with pytest.raises(VtError, match="needs a bias model"):
        find_reference(stage("cdpo", "objective.reference_clip=blank"), start, None)


def test_every_damage_is_a_reference_clip() -> None:
    assert [clip.damage for clip in ReferenceClip] == [None, *(damage for damage in Damage if not damage.is_mask)]
