"""The policy's replies in training: `videothinker.models.decoder` with weights that follow the policy."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch

from videothinker.models.decoder import Decoder, TokenChoice, Written
from videothinker.models.norms import quicken_norms
from videothinker.models.vision import SeenClip, quicken_vision
from videothinker.train.clips import NOTHING, ClipTensors, bare
from videothinker.train.lora import MergedBase, has_own_adapter, merged_weight
from videothinker.train.seen import VisionCache, is_frozen

_KEPT_BYTES = 4 * 2**30
"""Most bytes of weights and cache that stay on the GPU between batches; a larger model gives them back to make room for
gradients."""


class ReplySampler:
    """Draws replies from a Qwen2.5-VL whose parameters are whole on this device (neither FSDP nor ZeRO-3).

    On a GPU it draws from a bfloat16 copy of the policy, LoRA merged in, or from a LoRA policy itself where its base is
    bfloat16: the adapters are then merged in place (`lora.MergedBase`), so that nothing but the cache is added. What a small
    model needs, its copy, cache and captured graph, is kept from batch to batch. On a CPU it draws from the policy as it is.

    eos: tokens that end a reply. pad: fills replies that have ended. suppress: tokens never drawn; a drawn video token would
    make the reply impossible to score. max_new_tokens: where a reply is cut. temperature: above 0; 1 is the policy itself.
    vision: keeps what the policy's vision tower makes of clips, if that is frozen.
    """

    def __init__(
        self,
        *,
        eos: Sequence[int],
        pad: int,
        suppress: Sequence[int],
        max_new_tokens: int,
        temperature: float,
        vision: VisionCache | None = None,
    ) -> None:
        self.eos, self.pad, self.suppress = list(eos), pad, list(suppress)
        self.max_new_tokens, self.temperature = max_new_tokens, temperature
        self._vision = vision or VisionCache(0)
        self._base = MergedBase()
        self._copy: Any = None
        self._decoder: Decoder | None = None

    @torch.no_grad()
    def sample(
        self, policy: Any, prompt_ids: Sequence[Sequence[int]], clips: Sequence[ClipTensors], rows: Sequence[int]
    ) -> list[Written]:
        """One reply per prompt, with the token that ended it, at most `max_new_tokens` long.

        prompt_ids: unpadded. clips: the distinct ones, on the policy's device. rows: for each prompt the index of its clip, or
        `NOTHING`.
        """
        was_training = policy.training
        policy.eval()  # gradient checkpointing would drop the cache, dropout disturb it
        frozen = is_frozen(bare(policy).model.visual)  # asked while its adapters can be seen
        with self._drawn_from(policy) as model:
            replies = self._written(model, prompt_ids, clips, rows, frozen=frozen)
            self._release(model)
        policy.train(was_training)
        return replies

    def _written(
        self,
        model: Any,
        prompt_ids: Sequence[Sequence[int]],
        clips: Sequence[ClipTensors],
        rows: Sequence[int],
        *,
        frozen: bool,
    ) -> list[Written]:
        """What `sample` returns. frozen: whether the model's vision tower is."""
        if self._decoder is None or self._decoder.model is not model:
            self._decoder = Decoder(model, eos=self.eos, pad=self.pad, suppress=self.suppress)
        seen = self._vision.see(model, clips, frozen=frozen) if clips else []
        hidden = model.config.get_text_config().hidden_size
        nothing = SeenClip(torch.zeros(0, hidden, device=model.device), (0, 0, 0), 0.0)
        # A question comes once for each of its replies; its prompt is read once, and the replies point to it.
        asked = [(row, tuple(ids)) for row, ids in zip(rows, prompt_ids, strict=True)]
        distinct = {prompt: i for i, prompt in enumerate(dict.fromkeys(asked))}
        return self._decoder.write(
            [ids for _, ids in distinct],
            [nothing if row == NOTHING else seen[row] for row, _ in distinct],
            rows=[distinct[prompt] for prompt in asked],
            choice=TokenChoice(self.temperature),
            max_new_tokens=self.max_new_tokens,
        )

    @contextmanager
    def _drawn_from(self, policy: Any) -> Iterator[Any]:
        """The plain model that has the policy's weights of the moment."""
        base = bare(policy)
        if not _on_gpu(base):
            yield base
        elif self._base.serves(base):
            with self._base.merged(base):
                yield base
        else:
            yield self._up_to_date(base)

    def _up_to_date(self, base: Any) -> Any:
        """The copy, with the weights of the moment of a policy, which may have LoRA."""
        if self._copy is None:
            # Its first weights, which are written over, are drawn from a state of their own: a training that goes on makes the
            # copy anew, and its replies are to be those of one that was never stopped.
            with base.device, torch.random.fork_rng([base.device] if base.device.type == "cuda" else []):
                config = deepcopy(base.config)
                self._copy = type(base)._from_config(config, dtype=torch.bfloat16, attn_implementation="sdpa").eval()
            quicken_vision(self._copy)
            quicken_norms(self._copy)
        modules = dict(base.named_modules())
        for name, parameter in self._copy.named_parameters():
            parent, _, leaf = name.rpartition(".")
            module = modules[parent]  # in a LoRA policy a wrapper around the layer: `base_layer` has the frozen weight
            weight = getattr(getattr(module, "base_layer", module), leaf)
            if leaf == "weight" and has_own_adapter(module):
                weight = merged_weight(module)
            if parameter.numel():
                parameter.copy_(weight)  # in place: a captured graph reads this address
            else:
                parameter.data = weight.to(torch.bfloat16, copy=True)
        return self._copy

    def _release(self, model: Any) -> None:
        """Give back what a large model has on a GPU beside the policy: cache and graph, and a copy's parameters, which stay as
        empty shells."""
        if self._decoder is None or not _on_gpu(model):
            return
        if sum(p.nbytes for p in model.parameters()) + self._decoder.n_bytes <= _KEPT_BYTES:
            return
        self._decoder.forget()
        if model is self._copy:
            for parameter in model.parameters():
                parameter.data = parameter.data.new_empty(0)


def _on_gpu(model: Any) -> bool:
    """Whether replies are written with kernels and graphs of their own, in bfloat16."""
    return bool(model.device.type == "cuda")
