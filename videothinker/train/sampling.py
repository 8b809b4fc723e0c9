"""The policy's replies in training: `videothinker.models.decoder` with weights that follow the policy."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch

from videothinker.models.decoder import Decoder, TokenChoice, Written
from videothinker.models.norms import quicken_norms
from videothinker.models.vision import SeenClip, quicken_vision
from videothinker.train.clips import NOTHING, ClipTensors, bare
from videothinker.train.seen import VisionCache, is_frozen

_KEPT_BYTES = 4 * 2**30
"""Most bytes of weights and cache that stay on the GPU between batches; a larger model gives them back to make room for
gradients."""


class ReplySampler:
    """Draws replies from a Qwen2.5-VL whose parameters are whole on this device (neither FSDP nor ZeRO-3).

    On a GPU it draws from a bfloat16 copy of the policy, LoRA merged in; what the policy has in bfloat16 with no adapter on it
    is shared, not copied. The copy of a small model is kept from batch to batch, with its cache and captured graph. On a CPU
    it draws from the policy itself.

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
        device = bare(policy).device
        model = self._up_to_date(policy, device) if device.type == "cuda" else bare(policy)
        if self._decoder is None or self._decoder.model is not model:
            self._decoder = Decoder(model, eos=self.eos, pad=self.pad, suppress=self.suppress)
        seen = self._vision.see(model, clips, frozen=is_frozen(bare(policy).model.visual)) if clips else []
        nothing = SeenClip(torch.zeros(0, model.config.get_text_config().hidden_size, device=device), (0, 0, 0), 0.0)
        # A question comes once for each of its replies; its prompt is read once, and the replies point to it.
        asked = [(row, tuple(ids)) for row, ids in zip(rows, prompt_ids, strict=True)]
        distinct = {prompt: i for i, prompt in enumerate(dict.fromkeys(asked))}
        replies = self._decoder.write(
            [ids for _, ids in distinct],
            [nothing if row == NOTHING else seen[row] for row, _ in distinct],
            rows=[distinct[prompt] for prompt in asked],
            choice=TokenChoice(self.temperature),
            max_new_tokens=self.max_new_tokens,
        )
        self._release()
        policy.train(was_training)
        return replies

    def _up_to_date(self, policy: Any, device: torch.device) -> Any:
        """The copy, with the policy's weights of the moment."""
        base = bare(policy)
        is_new = self._copy is None
        if is_new:
            with torch.device(device):
                config = deepcopy(base.config)
                self._copy = type(base)._from_config(config, dtype=torch.bfloat16, attn_implementation="sdpa").eval()
            quicken_vision(self._copy)
            quicken_norms(self._copy)
        modules = dict(base.named_modules())
        for name, parameter in self._copy.named_parameters():
            parent, _, leaf = name.rpartition(".")
            module = modules[parent]  # in a LoRA policy a wrapper around the layer: `base_layer` has the frozen weight
            weight = own = getattr(getattr(module, "base_layer", module), leaf)
            if hasattr(module, "get_delta_weight") and leaf == "weight":
                weight = weight.float() + module.get_delta_weight("default").float()
            if weight is own and weight.dtype == torch.bfloat16 and (is_new or not parameter.numel()):
                parameter.data = weight.data  # the policy's own memory, unless the decoder moves it later
            elif not parameter.numel():
                parameter.data = weight.to(torch.bfloat16, copy=True)
            elif parameter.data_ptr() != weight.data_ptr():
                parameter.copy_(weight)  # in place: a captured graph reads this address
        return self._copy

    def _release(self) -> None:
        """Give a large model's copy and cache back; the copy's parameters stay as empty shells."""
        if self._copy is None or self._decoder is None:
            return
        if sum(p.nbytes for p in self._copy.parameters()) + self._decoder.n_bytes > _KEPT_BYTES:
            self._decoder.forget()
            for parameter in self._copy.parameters():
                parameter.data = parameter.data.new_empty(0)
