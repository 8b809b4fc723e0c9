"""TRL's GRPO trainer with clips that reach generation and scoring: what `vt train bias` and `vt train grpo` run on.

TRL 1.16 feeds a clip to generation and then scores the replies without it (its batches carry images only), without an error.
Therefore private methods of GRPOTrainer are overridden; tests/train/test_trl.py holds the signatures and habits relied on.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import torch
from accelerate.utils import gather_object
from datasets import Dataset
from torch import nn
from trl import GRPOTrainer

from videothinker.damage import Damage
from videothinker.models.positions import rule_of
from videothinker.models.saved_prompt import save_prompt
from videothinker.models.stored import ADAPTER
from videothinker.models.text_positions import mark_adapter
from videothinker.prompts import OURS, Asked
from videothinker.records.training import Completion, Fed
from videothinker.train.clips import ClipTensors, PromptEncoder, bare, generation_inputs, showing
from videothinker.train.data import ClipPrompt, TrainingRow, keyed_clips
from videothinker.train.frozen import drop_adapter, placed_frozen, put_frozen_adapter, quicken
from videothinker.train.lora import spare_input_copies
from videothinker.train.loss import mean_distance, without_equal_groups
from videothinker.train.resume import Kept, load_or_check
from videothinker.train.rewards import ORDERED, Reward
from videothinker.train.rows import Announced, Rows
from videothinker.train.sampling import ReplySampler
from videothinker.train.scored import score
from videothinker.train.seen import VisionCache
from videothinker.train.shuffled import Shuffled, first_rows
from videothinker.train.whole import unmark

_START = "ref"
"""The name by which TRL looks for the adapter that holds a policy's start."""

CLIP_SLOT = "token_type_ids"
"""A field that TRL carries, one row per reply, through its shuffling, splitting and slicing, and that Qwen2.5-VL does not use.
Each reply carries in it two numbers: that of its clip and that of its prompt."""


_NO_CLIP = ClipTensors(torch.empty(0), (0, 0, 0), 0.0)
"""What was fed of clips where the last prompts showed none."""


class ClipGRPOTrainer(GRPOTrainer):  # type: ignore[misc]
    """GRPO on prompts with one clip or image each, or none: every reply is written and scored with its clip in sight.

    The objective is TRL's own. Subclasses that change it can override `_forward` to see each pass of the model.

    args: TRL's GRPOConfig. rows: the questions. rewards: what a reply can earn, by the name that metrics and completions use;
    their weighted sum is its reward. encode: turns prompts into tensors. asked: how the rows put
    questions, which is saved beside the weights. shared_prompts: score all replies to a question behind
    one copy of its prompt (`shared.py`); needs SDPA. shuffled: also ask about shuffled clips, for the reward that compares; all
    replies to a question must then be in one process. vision: keeps what frozen vision towers make of clips, which then need
    their keys; None: nothing is kept. drop_equal_groups: the loss is the mean over replies to questions whose
    replies differ in what they earned. anchor: weight of k3 to `start`, TRL's own term; start: the policy's start, frozen, or
    the path of the LoRA adapter that training goes on from, or None where the policy without its fresh adapters is the start.
    All other arguments are GRPOTrainer's. The attribute `sampler`, if set, writes the replies in place of transformers'
    `generate`.
    """

    def __init__(
        self,
        *,
        args: Any,
        rows: Sequence[TrainingRow],
        rewards: Mapping[str, Reward],
        encode: PromptEncoder,
        asked: Asked = OURS,
        shared_prompts: bool = True,
        shuffled: Shuffled | None = None,
        vision: VisionCache | None = None,
        drop_equal_groups: bool = False,
        anchor: float = 0.0,
        start: nn.Module | Path | None = None,
        **kwargs: Any,
    ) -> None:
        args.reward_weights = [reward.weight for reward in rewards.values()]
        super().__init__(
            args=args,
            train_dataset=Dataset.from_dict({"prompt": [""] * len(rows)}),  # TRL requires this type, and needs only its length
            reward_funcs=[reward.function for reward in rewards.values()],
            **kwargs,
        )
        self.train_dataset: Any = rows  # Arrow would build each row anew, once for every reply and forward pass
        self.data_collator = Rows
        self.reward_func_names: list[str] = list(rewards)  # TRL takes the functions' own names
        self.completions: list[Completion] = []
        self.sampler: ReplySampler | None = None
        self._asked = asked
        self._encode, self._shared_prompts, self._shuffled = encode, shared_prompts, shuffled
        self._vision = vision
        self._drop_equal_groups = drop_equal_groups
        self._clips: dict[str, list[ClipTensors]] = {}
        self._rows = torch.empty(0)  # (B, 2): CLIP_SLOT
        self._prompt_ids: list[list[int]] = []  # of the same B prompts
        self._logps = torch.empty(0)  # (B, T): of the latest scoring, of whichever model
        self._rewards = torch.empty(0)  # (N, number of rewards), of all processes; a question's replies lie side by side
        self._replies: list[str] = []
        self._n_tokens: list[int] = []  # of these replies
        quicken(bare(self.model), vision)
        spare_input_copies(self.model)
        self.beta = anchor  # from here on TRL scores replies with `ref_model` too, or with the policy's adapter `_START`
        if isinstance(start, Path):
            put_frozen_adapter(self.model, start, _START)
        elif start is not None:
            self.ref_model = placed_frozen(self, start, vision)

    @property
    def _mode(self) -> str:
        return "train" if self.model.training else "eval"

    @property
    def _group(self) -> int:
        """Replies to each question, which lie side by side."""
        n: int = self.num_generations if self._mode == "train" else self.num_generations_eval
        return n

    def save_policy(self, out: Path) -> None:
        """Write the policy alone, at the end: its weights, and beside them tokenizer and video processor, as a checkpoint that
        others load. Frozen models are dropped."""
        drop_adapter(self.accelerator.unwrap_model(self.model), _START)
        self.ref_model, self.beta = None, 0.0
        self.save_model(str(out))
        if self.accelerator.is_main_process:
            self.processing_class.save_pretrained(out)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """transformers' own, which writes the policy or its adapters; beside them comes how the policy was asked, and an
        adapter's rule of text positions."""
        super().save_model(output_dir, _internal_call)
        folder = Path(output_dir or self.args.output_dir)
        if self.args.should_save:
            save_prompt(folder, self._asked)
        if self.args.should_save and (folder / ADAPTER).is_file():
            mark_adapter(folder, rule_of(bare(self.accelerator.unwrap_model(self.model)).config))

    # Clips on their way through TRL

    def _get_train_sampler(self, dataset: Any = None) -> Any:
        """TRL's order, of which the encoder is told ahead: it reads the next step's clips while this one is computed."""
        sampler = super()._get_train_sampler(dataset)
        if self.accelerator.num_processes > 1:  # each takes a part of the order, and reads its own when it gets there
            return sampler
        footages = {i: clip for i, row in enumerate(self.train_dataset) if (clip := row["prompt"].clip) is not None}
        n_rows = sampler.mini_repeat_count * sampler.batch_size * sampler.repeat_count

        def announce(indices: list[int]) -> None:
            self._encode.expect((footages[i] for i in dict.fromkeys(indices) if i in footages), at_most=3 * sampler.batch_size)

        return Announced(sampler, announce, n_rows)

    def fed(self) -> Fed:
        """What the last prompts really held, and how many there were in all sessions; the main process alone counts them."""
        clip = next((clip for clip in self._clips["train"] if not clip.is_image), _NO_CLIP)
        pairs, height, width = clip.grid
        sizes = self._encode.processor.video_processor
        return Fed(
            n_frames=pairs * sizes.temporal_patch_size,
            height=height * sizes.patch_size,
            width=width * sizes.patch_size,
            video_tokens=clip.n_tokens(self._encode.merge),
            seconds_per_pair=round(clip.seconds_per_pair, 6),
            n_prompts=len(self.completions) // self.num_generations,
            n_replies=len(self.completions),
            vision=msgspec.UNSET if self._vision is None else self._vision.counts,
        )

    def _tokenize_prompts(self, prompts: list[ClipPrompt]) -> tuple[list[list[int]], None, dict[str, Any]]:
        encoded = self._encode(prompts, self.accelerator.device)
        self._clips[self._mode] = encoded.clips
        asked = [(row, tuple(ids)) for row, ids in zip(encoded.rows, encoded.prompt_ids, strict=True)]
        number = {prompt: i for i, prompt in enumerate(dict.fromkeys(asked))}
        self._rows = torch.tensor([(prompt[0], number[prompt]) for prompt in asked])
        self._prompt_ids = encoded.prompt_ids
        return encoded.prompt_ids, None, {}

    def _generate_single_turn(self, prompt_ids: Any, images: Any, multimodal_fields: Any, *args: Any, **kwargs: Any) -> Any:
        return self._written(prompt_ids, self._clips[self._mode], self._rows[:, 0].tolist(), *args, **kwargs)

    def _written(
        self, prompt_ids: list[list[int]], clips: Sequence[ClipTensors], rows: Sequence[int], *args: Any, **kwargs: Any
    ) -> Any:
        """A reply to each prompt, about the clip of its row, as TRL's `_generate_single_turn` returns them.

        Log-probabilities of the sampler are at temperature 1, so only there can scoring be held beside them.
        """
        if self.sampler is not None:
            replies = self.sampler.sample(self.accelerator.unwrap_model(self.model), prompt_ids, clips, rows)
            at_1 = self.sampler.temperature == 1
            return [reply.tokens for reply in replies], [reply.logprobs for reply in replies] if at_1 else None
        fields = generation_inputs(clips, rows, prompt_ids, self._encode.video_token, self._encode.image_token)
        with showing(clips, rows):
            return super()._generate_single_turn(prompt_ids, None, fields, *args, **kwargs)

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        *args: Any,
        clips: Sequence[ClipTensors] | None = None,
        **kwargs: Any,
    ) -> Any:
        """TRL's, with clips in sight: `clips` by the numbers in `CLIP_SLOT`; None: those that the replies were written to."""
        if kwargs.get(CLIP_SLOT) is None:  # the old log-probabilities, asked for before the batch is put together
            kwargs[CLIP_SLOT] = self._rows
        every = self._clips[self._mode] if clips is None else clips
        config = bare(self.accelerator.unwrap_model(model)).config

        def with_clips(**inputs: Any) -> Any:
            slot, forward = inputs.pop(CLIP_SLOT), partial(self._forward, model)
            return score(forward, config, every, slot, inputs, n_scored=logits_to_keep, shared_prompts=self._shared_prompts)

        found = super()._get_per_token_logps_and_entropies(
            with_clips, input_ids, attention_mask, logits_to_keep, *args, **kwargs
        )
        self._logps = found[0].detach()
        return found

    def _forward(self, model: Any, at_replies: Callable[[torch.Tensor], torch.Tensor], **inputs: Any) -> Any:
        """One scoring pass of the policy or of another model.

        at_replies: takes what the model has at every position of its rows, and returns what it has where it predicts the
        replies' tokens, (B, T, ...).
        """
        return model(**inputs)

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """TRL's, with the share of clips that a frozen vision tower had seen before."""
        if self._vision is not None and self._mode == "train" and (kept := self._vision.since_last()) is not None:
            self._metrics["train"]["vision_kept_share"].append(kept)
        super().log(logs, *args, **kwargs)

    # The loss

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        """TRL's, whose log calls the divergence from the start `kl`; here that is the name of the one that repels."""
        loss: torch.Tensor = super()._compute_loss(model, inputs)
        if (drawn := inputs.get("sampling_per_token_logps")) is not None:
            scored = inputs.get("old_per_token_logps", self._logps)  # as the policy was that wrote the replies
            apart = mean_distance(drawn, scored, inputs["completion_mask"])
            self._metrics[self._mode]["sampler_difference"].append(self.accelerator.gather(apart).nanmean().item())
        if self.beta:
            logged = self._metrics[self._mode]
            logged["anchor_kl"].append(logged["kl"].pop())
            if not logged["kl"]:
                del logged["kl"]  # the mean of an empty list would be logged as not a number
        return loss

    # Replies and rewards

    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: list[str], completion_ids_list: Any) -> torch.Tensor:
        self._replies, self._n_tokens = completions, [len(ids) for ids in completion_ids_list]
        if self._shuffled is not None:
            bars = self._to_reach(inputs, self._shuffled)
            inputs = [row | {"to_reach": bar} for row, bar in zip(inputs, bars, strict=True)]
        self._rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        if ORDERED in self.reward_func_names:
            bonus = self._rewards[:, self.reward_func_names.index(ORDERED)]
            self._metrics[self._mode]["ordered_share"].append(
                (bonus.view(-1, self._group) > 0).any(dim=1).float().mean().item()
            )
        return self._rewards

    def _to_reach(self, asked: Sequence[TrainingRow], shuffled: Shuffled) -> list[float]:
        """The accuracy of replies about each question's shuffled clip, times the margin: a row each."""
        numbers = self._rows[:, 1].tolist()
        first, n = first_rows(numbers), shuffled.n_replies
        questions = [asked[row] for row in first.values()]
        clips, clip_of = self._encode.damaged(keyed_clips(questions, shuffled.seed), Damage.SHUFFLED, self.accelerator.device)
        prompts = [self._prompt_ids[row] for row in first.values() for _ in range(n)]
        ids, _ = self._written(prompts, clips, [clip for clip in clip_of for _ in range(n)], n)
        reached = shuffled.accuracies(questions, self.processing_class.batch_decode(ids, skip_special_tokens=True))
        mean = self.accelerator.reduce(reached.mean().to(self.accelerator.device), reduction="mean").item()
        self._metrics[self._mode]["shuffled_accuracy"].append(mean)
        bars = dict(zip(first, (shuffled.margin * reached).tolist(), strict=True))
        return [bars[number] for number in numbers]

    def _generate_and_score_completions(self, inputs: Sequence[TrainingRow]) -> dict[str, Any]:
        batch: dict[str, Any] = super()._generate_and_score_completions(inputs)
        batch[CLIP_SLOT] = self._rows
        if self._mode == "train":
            self._keep_completions(inputs, batch["advantages"].tolist())
        if self._drop_equal_groups:
            batch["advantages"] = batch["advantages"] * self._local(self._shares())
        return batch

    def _shares(self) -> torch.Tensor:
        """(N,): what each reply of all processes counts in the mean over them: 1, or where groups are dropped 0 or more than 1.

        The objective is linear in positive multiples of the advantage, so weighing that is taking the mean over the others.
        """
        if not self._drop_equal_groups:
            return torch.ones(len(self._rewards), device=self._rewards.device)
        earned = (self._rewards * self.reward_weights.to(self._rewards.device)).nansum(dim=1)
        return without_equal_groups(earned, self._group)

    def _local(self, rows: torch.Tensor) -> torch.Tensor:
        """This process's share of a tensor with one row for each reply of all processes, which lie process by process."""
        mine: torch.Tensor = rows.chunk(self.accelerator.num_processes)[self.accelerator.process_index]
        return mine

    def _keep_completions(self, inputs: Sequence[TrainingRow], advantages: list[float]) -> None:
        earned = self._local(self._rewards).tolist()
        gathered = gather_object(
            [
                Completion(
                    self.state.global_step + 1,
                    asked["question_id"],
                    reply,
                    dict(zip(self.reward_func_names, values, strict=True)),
                    advantage,
                    n_tokens,
                )
                for asked, reply, values, advantage, n_tokens in zip(
                    inputs, self._replies, earned, advantages, self._n_tokens, strict=True
                )
            ]
        )
        if self.accelerator.is_main_process:
            self.completions.extend(gathered)

    # Resuming

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Write a checkpoint, which counts as whole only once `whole.MarkWhole` has marked it."""
        if self.accelerator.is_main_process:
            unmark(Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}")
        super()._save_checkpoint(model, trial)

    def _run_epoch(self, **kwargs: Any) -> None:
        """One pass over the rows. transformers would take one more step where all were taken before the run was killed."""
        if self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
            return
        super()._run_epoch(**kwargs)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Load the weights that `save_pretrained` wrote, if they are those of the model in training.

        transformers 5.23 reads them under the names of the running model, which are others for Qwen2.5-VL; it then trains on
        from the base weights with a warning only. Adapters, FSDP and DeepSpeed have formats of their own, read properly.
        """
        model, folder = model or self.model, Path(resume_from_checkpoint)
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        if load_or_check(folder, model) is Kept.ADAPTERS:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
