"""CDPO: GRPO while the policy is pushed away from a reference (or, for the paper's ablation, towards it).

The reference is a frozen model, or the policy itself without gradient, and scores the policy's replies with the clip in sight
or with a damaged one. A frozen bias model on the clip is CDPO; the policy itself on a damaged clip is the idea of PAPO.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from trl.trainer.utils import use_adapter

from videothinker.errors import VtError
from videothinker.train.apart import Apart, Norms
from videothinker.train.clip_grpo import CLIP_SLOT, ClipGRPOTrainer
from videothinker.train.clips import ClipTensors, bare
from videothinker.train.data import TrainingRow, keyed_clips
from videothinker.train.frozen import drop_adapter, placed_frozen, put_frozen_adapter
from videothinker.train.hold import Hold
from videothinker.train.loss import DIVERGENCES, SIGN, Distributions, divergence, k3, mean_over_replies, rows_to_repel
from videothinker.train.objective import Objective, Reference, RepelOn
from videothinker.train.rewards import ACCURACY

_SAME = 1e-5
"""Nats: what one model's two scores of a token may differ by. On a CPU the last bit is not always the same."""

LOG_EVERY = 1
"""Optimizer steps between two measurements of the gradients' ratio, where the settings leave it open."""

REFERENCE = "reference"
"""Name of the frozen adapter, where the reference is a second adapter on the policy's base."""


class _Latest(NamedTuple):
    """What the latest scoring found, of whichever model it scored with."""

    logps: torch.Tensor
    """(B, T)."""
    hidden: torch.Tensor | None
    """(B, T, H): the states that predict the tokens; None where the form of the divergence has no use for them."""


class CDPOTrainer(ClipGRPOTrainer):
    """`ClipGRPOTrainer` whose loss has one term more: sign * weight * divergence(policy, reference).

    That term, added in `_compute_loss`, is the only change; TRL's own KL term is `anchor`, to another model. The weight is
    `objective.repulsion`, or what `objective.hold_at` has made of it (`hold.py`), or follows from `objective.gradient_share`.
    At steps where the gradients of both terms are measured, the term's is kept apart and added in `training_step` (`apart.py`).

    objective: the stage's settings; unless its `repel_on` is all, "accuracy" must be among the rewards. reference: the frozen
    model, or the path of a LoRA adapter on the policy's base, or None: the policy. seed: what the orders of shuffled clips
    are drawn from, together with the question. All other arguments are `ClipGRPOTrainer`'s.
    """

    def __init__(self, *, objective: Objective, reference: nn.Module | Path | None, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.objective = objective
        self._seed = seed
        self.hold = Hold(objective.repulsion, objective.hold_at)
        self.add_callback(self.hold)
        self._form = DIVERGENCES[objective.kl]
        self._apart = Apart()
        self._hidden: list[torch.Tensor] = []  # of a scoring's forward passes so far
        self._latest: _Latest | None = None
        self._compared = objective.reference is not Reference.BIAS
        self.reference: Any = None  # the frozen model; None where it is an adapter of the policy, or the policy
        if isinstance(reference, Path):
            put_frozen_adapter(self.model, reference, REFERENCE)
        elif reference is not None:
            self.reference = placed_frozen(self, reference, self._vision)

    # The reference

    @contextmanager
    def _as_reference(self) -> Iterator[Any]:
        """The model that scores as the reference."""
        if self.objective.reference is Reference.SELF:
            with _without_dropout(self.model):
                yield self.model
        elif self.reference is not None:
            yield self.reference
        else:
            with use_adapter(self.accelerator.unwrap_model(self.model), REFERENCE):
                yield self.model

    def save_policy(self, out: Path) -> None:
        """Write the policy alone, at the end: the reference is dropped."""
        drop_adapter(self.accelerator.unwrap_model(self.model), REFERENCE)
        self.reference = None
        super().save_policy(out)

    # What the divergence is computed from

    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
        self._hidden = []
        scored = super()._get_per_token_logps_and_entropies(*args, **kwargs)
        self._latest = _Latest(scored[0], torch.cat(self._hidden) if self._hidden else None)
        self._hidden = []
        return scored

    def _forward(self, model: Any, at_replies: Callable[[torch.Tensor], torch.Tensor], **inputs: Any) -> Any:
        """The same pass; keeps its last hidden states where the form of the divergence needs them."""
        if not self._form.needs_hidden:
            return super()._forward(model, at_replies, **inputs)
        states: list[torch.Tensor] = []
        hook = bare(self.accelerator.unwrap_model(model)).model.register_forward_hook(
            lambda _module, _args, output: states.append(output.last_hidden_state)
        )
        try:
            found = super()._forward(model, at_replies, **inputs)
        finally:
            hook.remove()
        self._hidden.append(at_replies(states[-1]))
        return found

    def _generate_and_score_completions(self, inputs: Sequence[TrainingRow]) -> dict[str, Any]:
        batch = super()._generate_and_score_completions(inputs)
        scored = self._score_with_reference(batch, *self._shown_to_reference(inputs))
        return batch | scored | {"repelled": self._local(self._rows_to_repel() * self._shares())}

    def _score_with_reference(
        self, batch: dict[str, Any], clips: Sequence[ClipTensors] | None, slot: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
        mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
        n_scored, n_rows = batch["completion_ids"].size(1), self.args.per_device_train_batch_size
        with torch.no_grad(), self._as_reference() as model:
            self._get_per_token_logps_and_entropies(model, ids, mask, n_scored, n_rows, clips=clips, **{CLIP_SLOT: slot})
        latest = self._take_latest()
        if latest.hidden is None:
            return {"reference_logps": latest.logps}
        return {"reference_logps": latest.logps, "reference_hidden": latest.hidden}

    def _shown_to_reference(self, asked: Sequence[TrainingRow]) -> tuple[Sequence[ClipTensors] | None, torch.Tensor]:
        """The clips that the reference sees, None for those of the policy, and what stands in `CLIP_SLOT` for them.

        A damaged clip has the grid and the times of its original, so the same tokens and positions stand for it.
        """
        damage = self.objective.reference_clip.damage
        if damage is None:
            return None, self._rows
        clips, clip_of = self._encode.damaged(keyed_clips(asked, self._seed), damage, self.accelerator.device)
        return clips, torch.stack([torch.tensor(clip_of), self._rows[:, 1]], dim=1)

    def _take_latest(self) -> _Latest:
        """What was scored last, let go: it may hold the whole graph of a backward pass."""
        latest, self._latest = self._latest, None
        assert latest is not None
        return latest

    def _rows_to_repel(self) -> torch.Tensor:
        """(N,) of 0.0 and 1.0: on which replies of all processes the divergence counts."""
        if self.objective.repel_on is RepelOn.ALL:
            return torch.ones(len(self._rewards), device=self.accelerator.device)
        right = self._rewards[:, self.reward_func_names.index(ACCURACY)] >= 1
        return rows_to_repel(right, self._group, self.objective.repel_on)

    # The loss

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        loss: torch.Tensor = super()._compute_loss(model, inputs)  # scores the policy, last of all
        policy, mask = self._take_latest(), inputs["completion_mask"]
        log_ratio = inputs["reference_logps"] - policy.logps
        whole = None if policy.hidden is None else self._distributions(policy.hidden, inputs["reference_hidden"])
        tokens = divergence(self._form, log_ratio, mask, self.objective.kl_clamp, whole)
        share = self.current_gradient_accumulation_steps if self._mode == "train" else 1.0
        distance = SIGN[self.objective.direction] * self._form.over_replies(tokens, mask, inputs["repelled"]) / share
        self._compare_once(log_ratio.detach(), mask)
        self._log_divergence(log_ratio.detach(), tokens.detach(), mask)
        if self._keeps_apart():
            self._apart.add(distance, self.model.parameters())
            distance = distance.detach()  # it counts in the logged loss alone
        return loss + self.hold.weight * distance

    def _distributions(self, policy_hidden: torch.Tensor, reference_hidden: torch.Tensor) -> Distributions:
        policy_head = self._head(self.model)  # looked up outside: inside, a reference on the policy's base lends it its own
        with self._as_reference() as reference:
            return Distributions(policy_hidden, policy_head, reference_hidden, self._head(reference), self.temperature)

    def _head(self, model: Any) -> torch.Tensor:
        """(V, H): the weight of a model's output layer, that of the adapter in use where an adapter has one of its own."""
        weight: torch.Tensor = self.accelerator.unwrap_model(model).get_output_embeddings().weight
        return weight

    def _compare_once(self, log_ratio: torch.Tensor, mask: torch.Tensor) -> None:
        """On the first batch: a reference that scores every token as the policy does is the policy.

        One that is shown something else is told by a batch that shows something.
        """
        if self.objective.reference_clip.damage is not None and not self._clips[self._mode]:
            return
        if not self._compared and float((log_ratio * mask).abs().max()) < _SAME:
            raise VtError(
                "the reference gives every token the policy's own log-probability: it is the policy; check --bias-model"
            )
        self._compared = True

    def _log_divergence(self, log_ratio: torch.Tensor, tokens: torch.Tensor, mask: torch.Tensor) -> None:
        """Log the divergence in nats, also where the loss takes a bounded form of it, and how much of it was clamped."""
        clamp, whole = self.objective.kl_clamp, self._form.needs_hidden
        nats = tokens if whole else k3(log_ratio, clamp)
        clamped = torch.zeros_like(nats) if whole else (log_ratio.abs() >= clamp).float()
        everyone = torch.ones(len(mask), device=mask.device)
        means = torch.stack([mean_over_replies(values, mask, everyone) for values in (nats, clamped)])
        nats_per_token, share = self.accelerator.reduce(means, reduction="mean").tolist()
        if self._mode == "train":
            self.hold.measure(nats_per_token)
        logged = {"kl": nats_per_token, "clamped_share": share}
        if self.objective.gradient_share is None:
            logged["repulsion"] = self.hold.weight
        for name, value in logged.items():
            self._metrics[self._mode][name].append(value)

    # Both gradients of a step

    def _keeps_apart(self) -> bool:
        """Are the two gradients of this step kept apart, to measure them or to weigh one by the other?"""
        if self._mode != "train" or self.is_deepspeed_enabled or self.is_fsdp_enabled:
            return False
        every = self.objective.log_gradient_ratio_every
        every = LOG_EVERY if every is None else every
        due = every > 0 and self.state.global_step % every == 0
        return due or self.objective.gradient_share is not None

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any) -> torch.Tensor:
        """TRL's, after whose last micro-batch of an optimizer step the two gradients are put together."""
        loss: torch.Tensor = super().training_step(model, inputs, num_items_in_batch)
        if self.accelerator.sync_gradients and self._keeps_apart():
            loss = loss + self._combine()
        return loss

    def _combine(self) -> float:
        """Add the divergence's weighted gradient to the reward's; returns what the logged loss still lacks of the term."""
        share, constant = self.objective.gradient_share, self.hold.weight
        value = self._apart.value
        norms, weight = self._apart.combine(
            self.model.parameters(),
            lambda norms: constant if share is None else norms.weight_for(share),
            self.accelerator.num_processes,
        )
        self._log_gradients(norms, weight)
        return 0.0 if share is None else weight * value

    def _log_gradients(self, norms: Norms, weight: float) -> None:
        metrics = self._metrics["train"]
        metrics["reward_grad_norm"].append(norms.reward)
        metrics["divergence_grad_norm"].append(norms.divergence)
        if (ratio := norms.ratio(weight)) is not None:
            metrics["repulsion_gradient_ratio"].append(ratio)
        if self.objective.gradient_share is not None:
            metrics["repulsion"].append(weight)


@contextmanager
def _without_dropout(model: nn.Module) -> Iterator[None]:
    """Leave dropout off, as it is in a frozen reference: its draws would count as divergence."""
    dropping = [module for module in model.modules() if isinstance(module, nn.Dropout) and module.training]
    for module in dropping:
        module.eval()
    try:
        yield
    finally:
        for module in dropping:
            module.train()
