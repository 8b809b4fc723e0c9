"""Replies drawn token by token with a fixed-size cache and, on a GPU, one captured CUDA graph a token.

`generate` launches every kernel of every layer from Python, token after token; at one question's 8 replies the GPU mostly waits
for it. Captured once and replayed, a token costs about what reading the weights costs. The draws are the same distribution:
softmax of logits / temperature over all tokens but the suppressed ones.
"""

from collections.abc import Sequence
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812 (its usual name)
from transformers import StaticCache
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLRMSNorm

from videothinker.train.clips import bare, share_vision

_CHECK_EVERY = 16
"""Tokens between two looks at whether all replies have ended; each look makes the GPU wait."""


class Sampler:
    """Draws replies from a Qwen2.5-VL whose parameters are whole on this device (not FSDP, not ZeRO-3).

    On a GPU it draws from a bfloat16 copy of the policy, LoRA merged in, that exists only while a batch is drawn: gradients
    take its place afterwards. Elsewhere it draws from the policy itself.

    eos: tokens that end a reply. pad: fills replies that have ended. suppress: tokens never drawn; a drawn video token would
    make the reply impossible to score.
    """

    def __init__(
        self, *, eos: Sequence[int], pad: int, suppress: Sequence[int], max_new_tokens: int, temperature: float
    ) -> None:
        self.eos, self.pad, self.suppress = list(eos), pad, list(suppress)
        self.max_new_tokens, self.temperature = max_new_tokens, temperature
        self._copy: Any = None

    @torch.no_grad()
    def sample(self, policy: Any, prompt_ids: Sequence[Sequence[int]], fields: dict[str, Any]) -> list[list[int]]:
        """One reply a prompt, with the token that ended it, at most `max_new_tokens` long.

        prompt_ids: unpadded. fields: `pixel_values_videos`, `video_grid_thw`, `second_per_grid_ts` and, a list a prompt,
        `mm_token_type_ids`.
        """
        device = fields["pixel_values_videos"].device
        was_training = policy.training
        policy.eval()  # gradient checkpointing would drop the cache
        model = self._up_to_date(policy, device) if device.type == "cuda" else bare(policy)
        width = max(map(len, prompt_ids))
        inputs = {key: value.to(device) for key, value in fields.items() if key != "mm_token_type_ids"}
        for key, rows, fill in (
            ("input_ids", prompt_ids, self.pad),
            ("attention_mask", [[1] * len(ids) for ids in prompt_ids], 0),
            ("mm_token_type_ids", fields["mm_token_type_ids"], 0),
        ):
            inputs[key] = torch.tensor([[fill] * (width - len(row)) + list(row) for row in rows], device=device)
        replies = _Decoder(model, len(prompt_ids), width, self).run(inputs)
        self._release()
        policy.train(was_training)
        return [_ended(row, self.eos) for row in replies.tolist()]

    def _up_to_date(self, policy: Any, device: torch.device) -> Any:
        base = bare(policy)
        if self._copy is None:
            with torch.device(device):
                config = deepcopy(base.config)
                self._copy = type(base)._from_config(config, dtype=torch.bfloat16, attn_implementation="sdpa").eval()
            share_vision(self._copy)
            for module in self._copy.modules():
                if isinstance(module, Qwen2_5_VLRMSNorm):
                    module.forward = partial(_rms_norm, module)
        modules = dict(base.named_modules())
        for name, parameter in self._copy.named_parameters():
            parent, _, leaf = name.rpartition(".")
            module = modules[parent]
            weight = getattr(getattr(module, "base_layer", module), leaf)
            if hasattr(module, "get_delta_weight") and leaf == "weight":
                weight = weight.float() + module.get_delta_weight("default").float()
            parameter.data = weight.to(torch.bfloat16, copy=True)
        return self._copy

    def _release(self) -> None:
        for parameter in self._copy.parameters() if self._copy is not None else ():
            parameter.data = parameter.data.new_empty(0)


class _Decoder:
    """Cache, running state and captured graph for `n_rows` replies to prompts of `width` tokens."""

    def __init__(self, model: Any, n_rows: int, width: int, sampler: Sampler) -> None:
        weight = model.get_input_embeddings().weight
        device, length = weight.device, width + sampler.max_new_tokens
        self._model, self._sampler = model, sampler
        self._cache = StaticCache(config=model.config.get_text_config(), max_cache_len=length)
        self._graph: Any = None
        self._eos = torch.tensor(sampler.eos, device=device)
        self._suppress = torch.tensor(sampler.suppress, device=device)
        self._token = torch.zeros(n_rows, dtype=torch.long, device=device)
        self._ended = torch.zeros(n_rows, dtype=torch.bool, device=device)
        self._position = torch.zeros(3, n_rows, 1, dtype=torch.long, device=device)
        self._slot = torch.zeros(1, dtype=torch.long, device=device)
        self._count = torch.zeros(1, dtype=torch.long, device=device)
        self._mask = torch.empty(n_rows, 1, 1, length, dtype=weight.dtype, device=device)  # added to the scores: 0 or -inf
        self._replies = torch.zeros(n_rows, sampler.max_new_tokens, dtype=torch.long, device=device)

    def run(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Replies, (n_rows, at most max_new_tokens), padded after their end."""
        output = self._model(**inputs, past_key_values=self._cache, use_cache=True, logits_to_keep=1)
        self._start(inputs["attention_mask"], output.logits[:, -1])
        if self._token.is_cuda:
            self._capture()
            self._start(inputs["attention_mask"], output.logits[:, -1])
        n_steps = self._replies.size(1) - 1
        for step in range(n_steps):
            if step % _CHECK_EVERY == 0 and bool(self._ended.all()):
                return self._replies[:, : step + 1]
            if self._graph is None:
                self._step()
            else:
                self._graph.replay()
        return self._replies

    def _start(self, mask: torch.Tensor, logits: torch.Tensor) -> None:
        """State after the prompt: the first token drawn, and where the second will lie."""
        width = mask.size(1)
        for layer in self._cache.layers:
            layer.cumulative_length.fill_(width)
        self._slot.fill_(width)
        self._position.copy_((mask.sum(1, keepdim=True) + self._model.model.rope_deltas).expand(3, -1, -1))
        self._mask.fill_(-torch.inf)
        self._mask[:, 0, 0, :width].masked_fill_(mask.bool(), 0.0)
        self._ended.zero_()
        self._count.zero_()
        self._replies.fill_(self._sampler.pad)
        self._draw(logits)

    def _draw(self, logits: torch.Tensor) -> None:
        """Draw each row's next token from (n_rows, V) logits: an argmax over exponential races, which a graph can hold."""
        logits = logits.float().index_fill(1, self._suppress, -torch.inf)
        chances = torch.softmax(logits / self._sampler.temperature, dim=-1)
        drawn = (chances / torch.empty_like(chances).exponential_()).argmax(-1)
        self._token.copy_(torch.where(self._ended, self._sampler.pad, drawn))
        self._ended.logical_or_((drawn[:, None] == self._eos).any(1))
        self._replies.index_copy_(1, self._count, self._token[:, None])
        self._count.add_(1)

    def _step(self) -> None:
        """Feed the last token of every row and draw the next; everything in place, so that a graph can replay it."""
        self._mask.index_fill_(3, self._slot, 0.0)
        hidden = self._model.model.language_model(
            inputs_embeds=self._model.get_input_embeddings()(self._token[:, None]),
            position_ids=self._position,
            attention_mask={"full_attention": self._mask},
            past_key_values=self._cache,
            use_cache=True,
        ).last_hidden_state[:, -1]
        self._slot.add_(1)
        self._position.add_(1)
        self._draw(self._model.lm_head(hidden))

    def _capture(self) -> None:
        """Record `_step`. It runs a few times before, as CUDA's libraries set themselves up; `_start` undoes what that left."""
        stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(2):
                self._step()
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._step()


def _rms_norm(module: Any, states: torch.Tensor) -> torch.Tensor:
    """What the module computes, as one kernel in place of seven; a token launches it twice a layer."""
    return F.rms_norm(states, states.shape[-1:], module.weight, module.variance_epsilon)


def _ended(tokens: list[int], eos: list[int]) -> list[int]:
    """The tokens up to the first that ends a reply, it included."""
    end = next((i for i, token in enumerate(tokens) if token in eos), len(tokens) - 1)
    return tokens[: end + 1]
