"""The trainer of all three stages: TRL's GRPO, with clips that reach the scoring and CDPO's signed term.

TRL 1.16 feeds a clip to generation and then scores the replies without it (its batches carry images only), without an error. So
private methods of GRPOTrainer are overridden; tests/train/test_trl.py holds the signatures and habits relied on.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate.utils import gather_object
from torch import nn
from torch.utils.data import Sampler
from transformers import AutoModelForImageTextToText
from trl import GRPOTrainer
from trl.models.utils import prepare_deepspeed, prepare_fsdp
from trl.trainer.utils import add_fused_lm_head, use_adapter

from videothinker.errors import VtError
from videothinker.models.checkpoint import ADAPTER
from videothinker.models.norms import quicken_norms
from videothinker.models.vision import quicken_vision
from videothinker.train import rewards
from videothinker.train.clips import (
    ClipTensors,
    PromptEncoder,
    bare,
    generation_inputs,
    scoring_inputs,
    share_vision,
    showing,
)
from videothinker.train.hold import Hold
from videothinker.train.loss import SIGN, bounded_by_reply, exact_kl, k3, mean_over_replies, rows_to_repel, sampled_divergence
from videothinker.train.sampling import Sampler as ReplySampler
from videothinker.train.shared import share_prompts
from videothinker.train.stages import KL, Objective, Reference, RepelOn

_SAME = 1e-5
"""Nats: what one model's two scores of a token may differ by. On a CPU the last bit is not always the same."""

REFERENCE = "reference"
"""Name of the frozen adapter, where the reference is a second adapter on the policy's base."""

CLIP_SLOT = "token_type_ids"
"""TRL carries this field, one row a reply, through its shuffling, splitting and slicing, and Qwen2.5-VL has no use for it: so a
reply carries in it the numbers of its clip and of its prompt."""


class Completion(NamedTuple):
    """One reply of a training step: a row of completions.parquet."""

    step: int
    question_id: str
    reply: str
    accuracy: float
    format: float
    advantage: float


class _Scored(NamedTuple):
    """What TRL reads of a scoring pass, (B, T) each."""

    log_probs: torch.Tensor
    entropy: torch.Tensor | None


class CDPOTrainer(GRPOTrainer):  # type: ignore[misc]
    """GRPO whose loss gains one term: sign * repulsion * divergence(policy, frozen reference), the repulsion given or held.

    That term, added in `_compute_loss`, is the only change of the objective; TRL's own KL stays off (beta 0). Every other
    override lets each reply be scored with its clip. Every prompt has exactly one clip.

    objective: of the stage. encode: turns prompts into tensors. reference: frozen model (or the path of a LoRA adapter on the
    policy's base) to measure the divergence to, required exactly when `objective.repulsion` > 0. shared_prompts: score all
    replies to a question behind one copy of its prompt (`shared.py`); needs SDPA. All else: GRPOTrainer's. The attribute
    `sampler`, if set, writes the replies in place of transformers' `generate`.
    """

    def __init__(
        self,
        *args: Any,
        objective: Objective,
        encode: PromptEncoder,
        reference: nn.Module | Path | None = None,
        shared_prompts: bool = True,
        **kwargs: Any,
    ) -> None:
        if (objective.repulsion > 0) != (reference is not None):
            want = "needs a" if reference is None else "has no use for a"
            raise VtError(f"objective.repulsion = {objective.repulsion} {want} reference")
        super().__init__(*args, **kwargs)
        self.train_dataset: Any = kwargs[
            "train_dataset"
        ].to_list()  # Arrow would build its rows anew, once a reply and forward pass
        self.data_collator = _Rows
        self.objective = objective
        self.hold = Hold(objective.repulsion, objective.hold_at)
        self.add_callback(self.hold)
        self.completions: list[Completion] = []
        self.sampler: ReplySampler | None = None
        self._encode, self._shared_prompts = encode, shared_prompts
        self._clips: dict[str, list[ClipTensors]] = {}
        self._rows = torch.empty(0)  # (B, 2): CLIP_SLOT
        self._rewards = torch.empty(0)
        self._policy_logps: torch.Tensor | None = None
        self._hidden: torch.Tensor | None = None  # (B, T, H): what predicts the scored tokens, for the exact divergence
        self._compared = objective.reference is Reference.START
        _quicken(bare(self.model))
        if isinstance(reference, Path):
            self._load_reference_adapter(reference)
        elif reference is not None:
            self.ref_model = self._prepare_reference(reference)

    @property
    def _mode(self) -> str:
        return "train" if self.model.training else "eval"

    # The reference

    def _prepare_reference(self, reference: Any) -> Any:
        """The reference, frozen and placed as TRL places its own: sharded where the policy is, on this device elsewhere."""
        reference.requires_grad_(False).eval()
        _quicken(reference)
        add_fused_lm_head(reference, temperature=self.temperature)
        if self.is_deepspeed_enabled:
            return prepare_deepspeed(reference, self.accelerator)
        if self.is_fsdp_enabled:
            return prepare_fsdp(reference, self.accelerator)
        return self.accelerator.prepare_model(reference, evaluation_mode=True)

    def _load_reference_adapter(self, folder: Path) -> None:
        self.model.load_adapter(str(folder), adapter_name=REFERENCE, is_trainable=False)
        for module in self.model.modules():  # an adapter's dropout follows the policy's train mode; a reference has none
            if REFERENCE in getattr(module, "lora_dropout", {}):
                module.lora_dropout[REFERENCE] = nn.Identity()

    @contextmanager
    def _as_reference(self) -> Iterator[Any]:
        """The model that scores as the reference."""
        if self.ref_model is not None:
            yield self.ref_model
        else:
            with use_adapter(self.accelerator.unwrap_model(self.model), REFERENCE):
                yield self.model

    def drop_reference(self) -> None:
        """Forget the reference, so that saving the policy does not save it too."""
        if self.objective.repulsion and self.ref_model is None:
            self.accelerator.unwrap_model(self.model).delete_adapter(REFERENCE)
        self.ref_model = None

    # Clips on their way through TRL

    def _get_train_sampler(self, dataset: Any = None) -> Any:
        """TRL's order, of which the encoder is told ahead: it reads the next step's clips while this one is computed."""
        sampler = super()._get_train_sampler(dataset)
        if self.accelerator.num_processes > 1:  # each takes a part of the order, and reads its own when it gets there
            return sampler
        paths = [_clip_and_text(row["prompt"])[0] for row in self.train_dataset]
        n_rows = sampler.mini_repeat_count * sampler.batch_size * sampler.repeat_count

        def announce(indices: list[int]) -> None:
            self._encode.expect((paths[i] for i in dict.fromkeys(indices)), at_most=3 * sampler.batch_size)

        return _Announced(sampler, announce, n_rows)

    def fed(self) -> dict[str, Any]:
        """What the last prompts really held: frames, their size in pixels, video tokens, seconds between pairs of frames."""
        clip = self._clips["train"][0]
        pairs, height, width = clip.grid
        sizes = self._encode.processor.video_processor
        return {
            "n_frames": pairs * sizes.temporal_patch_size,
            "height": height * sizes.patch_size,
            "width": width * sizes.patch_size,
            "video_tokens": clip.n_tokens(self._encode.merge),
            "seconds_per_pair": round(clip.seconds_per_pair, 6),
        }

    def _tokenize_prompts(self, prompts: list[Any]) -> tuple[list[list[int]], None, dict[str, Any]]:
        encoded = self._encode([_clip_and_text(prompt) for prompt in prompts], self.accelerator.device)
        self._clips[self._mode] = encoded.clips
        asked = [(row, tuple(ids)) for row, ids in zip(encoded.rows, encoded.prompt_ids, strict=True)]
        number = {prompt: i for i, prompt in enumerate(dict.fromkeys(asked))}
        self._rows = torch.tensor([(prompt[0], number[prompt]) for prompt in asked])
        return encoded.prompt_ids, None, {}

    def _generate_single_turn(self, prompt_ids: Any, images: Any, multimodal_fields: Any, *args: Any, **kwargs: Any) -> Any:
        clips, rows = self._clips[self._mode], self._rows[:, 0].tolist()
        if self.sampler is not None:
            return self.sampler.sample(self.accelerator.unwrap_model(self.model), prompt_ids, clips, rows), None
        fields = generation_inputs(clips, rows, prompt_ids, self._encode.video_token)
        with showing(clips, rows):
            return super()._generate_single_turn(prompt_ids, images, fields, *args, **kwargs)

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor, logits_to_keep: int, *args: Any, **kwargs: Any
    ) -> Any:
        if kwargs.get(CLIP_SLOT) is None:  # the old log-probabilities, asked for before the batch is put together
            kwargs[CLIP_SLOT] = self._rows
        every, config = self._clips[self._mode], bare(self.accelerator.unwrap_model(model)).config
        hidden: list[torch.Tensor] = []

        def with_clips(**inputs: Any) -> Any:
            clip_of, prompts = inputs.pop(CLIP_SLOT).T.tolist()
            place = {number: i for i, number in enumerate(sorted(set(clip_of)))}
            clips, rows = [every[number] for number in place], [place[number] for number in clip_of]
            ids, mask = inputs["input_ids"], inputs["attention_mask"]
            seen = scoring_inputs(config, clips, rows, ids, mask)
            shared = None
            if self._shared_prompts:
                shared = share_prompts(ids, mask, seen["position_ids"], logits_to_keep, prompts)
            if shared is None:
                with showing(clips, rows):
                    found = model(**inputs, **seen)
                hidden[-1:] = [states[:, -logits_to_keep - 1 : -1] for states in hidden[-1:]]
                return found
            with showing(clips, [rows[reply] for reply in shared.first]):
                found = model(**{**seen, **shared.inputs}, fused_lm_head=True)
            hidden[-1:] = [shared.unpacked(states) for states in hidden[-1:]]
            entropy = None if found.entropy is None else shared.unpacked(found.entropy)
            return _Scored(shared.unpacked(found.log_probs), entropy)

        with self._catching_hidden_states(model, hidden):
            scored = super()._get_per_token_logps_and_entropies(
                with_clips, input_ids, attention_mask, logits_to_keep, *args, **kwargs
            )
        self._hidden = torch.cat(hidden) if hidden else None
        if self.objective.repulsion:
            self._policy_logps = scored[0]
        return scored

    @contextmanager
    def _catching_hidden_states(self, model: Any, into: list[torch.Tensor]) -> Iterator[None]:
        """Appends, for the exact divergence, the last hidden states of every forward pass."""
        if self.objective.kl is not KL.EXACT or not self.objective.repulsion:
            yield
            return
        hook = bare(self.accelerator.unwrap_model(model)).model.register_forward_hook(
            lambda _module, _args, output: into.append(output.last_hidden_state)
        )
        try:
            yield
        finally:
            hook.remove()

    # Replies and rewards

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        self._rewards = super()._calculate_rewards(*args, **kwargs)  # of all processes, a question's replies side by side
        return self._rewards

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = super()._generate_and_score_completions(inputs)
        batch[CLIP_SLOT] = self._rows
        if self.objective.repulsion:
            batch |= self._score_with_reference(batch)
            batch["repelled"] = self._local(self._rows_to_repel())
        if self._mode == "train":
            self._keep_completions(inputs, batch)
        return batch

    def _score_with_reference(self, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
        ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
        mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
        n_scored, n_rows = batch["completion_ids"].size(1), self.args.per_device_train_batch_size
        with torch.no_grad(), self._as_reference() as model:
            clips = {CLIP_SLOT: batch[CLIP_SLOT]}
            logps, _, _ = self._get_per_token_logps_and_entropies(model, ids, mask, n_scored, n_rows, **clips)
        if self.objective.kl is KL.EXACT and self._hidden is not None:
            return {"reference_logps": logps, "reference_hidden": self._hidden}
        return {"reference_logps": logps}

    def _rows_to_repel(self) -> torch.Tensor:
        if self.objective.repel_on is RepelOn.ALL:
            return torch.ones(len(self._rewards), device=self.accelerator.device)
        right = self._rewards[:, self.reward_func_names.index(rewards.accuracy.__name__)] >= 1
        group = self.num_generations if self._mode == "train" else self.num_generations_eval
        return rows_to_repel(right, group, self.objective.repel_on)

    def _local(self, rows: torch.Tensor) -> torch.Tensor:
        """This process's share of a tensor with a row a reply of all processes."""
        return rows.view(self.accelerator.num_processes, -1)[self.accelerator.process_index]

    def _keep_completions(self, inputs: list[dict[str, Any]], batch: dict[str, Any]) -> None:
        lengths = batch["completion_mask"].sum(1).tolist()
        kept = [ids[:n] for ids, n in zip(batch["completion_ids"].tolist(), lengths, strict=True)]
        replies = self.processing_class.batch_decode(kept, skip_special_tokens=True)
        scores = {name: self._local(self._rewards[:, i]).tolist() for i, name in enumerate(self.reward_func_names)}
        blank = [0.0] * len(replies)
        rows = [
            Completion(self.state.global_step + 1, asked.get("question_id", ""), reply, right, form, advantage)
            for asked, reply, right, form, advantage in zip(
                inputs,
                replies,
                scores.get("accuracy", blank),
                scores.get("format", blank),
                batch["advantages"].tolist(),
                strict=True,
            )
        ]
        gathered = gather_object(rows)
        if self.accelerator.is_main_process:
            self.completions.extend(gathered)

    # The loss

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        loss: torch.Tensor = super()._compute_loss(model, inputs)
        if not self.objective.repulsion:
            return loss
        mode, mask = self._mode, inputs["completion_mask"]
        log_ratio = inputs["reference_logps"] - self._policy_logps
        tokens = self._divergence(log_ratio, mask, inputs)
        over_replies = bounded_by_reply if self.objective.kl is KL.REPLY else mean_over_replies
        distance = over_replies(tokens, mask, inputs["repelled"])
        self._policy_logps = self._hidden = None
        self._compare_once(log_ratio.detach(), mask)
        self._log_divergence(log_ratio.detach(), tokens.detach(), mask)
        share = self.current_gradient_accumulation_steps if mode == "train" else 1.0
        return loss + SIGN[self.objective.direction] * self.hold.weight * distance / share

    def _divergence(self, log_ratio: torch.Tensor, mask: torch.Tensor, inputs: dict[str, Any]) -> torch.Tensor:
        """The chosen form at every token, (B, T)."""
        if self.objective.kl is not KL.EXACT:
            return sampled_divergence(log_ratio, self.objective.kl, self.objective.kl_clamp)
        assert self._hidden is not None
        with self._as_reference() as reference:
            heads = [self.accelerator.unwrap_model(m).get_output_embeddings().weight for m in (self.model, reference)]
        scored = mask.bool()
        values = exact_kl(
            self._hidden[scored], heads[0], inputs["reference_hidden"][scored], heads[1], temperature=self.temperature
        )
        return torch.zeros_like(log_ratio).masked_scatter(scored, values)

    def _compare_once(self, log_ratio: torch.Tensor, mask: torch.Tensor) -> None:
        """On the first batch: a reference that scores every token as the policy does is the policy."""
        if not self._compared and float((log_ratio * mask).abs().max()) < _SAME:
            raise VtError(
                "the reference gives every token the policy's own log-probability: it is the policy; check --bias-model"
            )
        self._compared = True

    def _log_divergence(self, log_ratio: torch.Tensor, tokens: torch.Tensor, mask: torch.Tensor) -> None:
        clamp = self.objective.kl_clamp
        exact = self.objective.kl is KL.EXACT
        nats = tokens if exact else k3(log_ratio, clamp)
        clamped = torch.zeros_like(nats) if exact else (log_ratio.abs() >= clamp).float()
        everyone = torch.ones(len(mask), device=mask.device)
        means = torch.stack([mean_over_replies(values, mask, everyone) for values in (nats, clamped)])
        divergence, share = self.accelerator.reduce(means, reduction="mean").tolist()
        if self._mode == "train":
            self.hold.measure(divergence)
        for name, value in (("kl", divergence), ("clamped_share", share), ("repulsion", self.hold.weight)):
            self._metrics[self._mode][name].append(value)

    # Resuming

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Load the weights that `save_pretrained` wrote.

        transformers 5.23 reads them under the names of the running model, which are others for Qwen2.5-VL; it then trains on
        from the base weights with a warning only. Adapters, FSDP and DeepSpeed have formats of their own, read properly.
        """
        own_format = (Path(resume_from_checkpoint) / ADAPTER).is_file() or self.is_fsdp_enabled or self.is_deepspeed_enabled
        if own_format:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        model = model or self.model
        saved = AutoModelForImageTextToText.from_pretrained(resume_from_checkpoint, dtype=model.dtype)
        model.load_state_dict(saved.state_dict())


class _Rows(Sequence[dict[str, Any]]):
    """A batch that nobody walks through for tensors to move: there are none."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self._rows = rows

    def __getitem__(self, i: Any) -> Any:
        return self._rows[i]

    def __len__(self) -> int:
        return len(self._rows)


class _Announced(Sampler[int]):
    """A sampler's indices, two batches of `n_rows` told to `announce` when the first of them begins."""

    def __init__(self, sampler: Any, announce: Callable[[list[int]], None], n_rows: int) -> None:
        self._sampler, self._announce, self._n_rows = sampler, announce, n_rows

    def __iter__(self) -> Iterator[int]:
        order = list(self._sampler)
        for start in range(0, len(order), self._n_rows):
            self._announce(order[start : start + 2 * self._n_rows])
            yield from order[start : start + self._n_rows]

    def __len__(self) -> int:
        return len(self._sampler)


def _quicken(model: Any) -> None:
    share_vision(model)
    quicken_vision(model)
    quicken_norms(model)


def _clip_and_text(prompt: list[dict[str, Any]]) -> tuple[str, str]:
    """Path of a prompt's clip and its text; Arrow fills each part's missing keys with None, so parts are told apart by type."""
    parts = {part["type"]: part for part in prompt[-1]["content"]}
    return parts["video"]["video"], parts["text"]["text"]
