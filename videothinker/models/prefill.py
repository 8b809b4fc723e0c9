"""The prompts' pass through a Qwen2.5-VL: what questions about one clip share of their prompts goes through it once.

    | system, clip, words that all of its questions begin with |        once per clip, by transformers' own code
                                                 | rest of question 1 |         each against its clip's keys and values
                                                 | rest of question 2 |

Keys and values of both end up in the cache of each reply, one behind the other, as if every prompt had passed whole.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 (its usual name)
from transformers import DynamicCache

from videothinker.models.norms import rms_norm
from videothinker.models.positions import rule_of, token_positions
from videothinker.models.prefixes import Prefix, Tokens, shared_prefixes
from videothinker.models.text_layers import even_width, finished, heads, rotation
from videothinker.models.vision import SeenClip

_PROMPT_TOKENS = 131_072
"""How many tokens of prompts, padding included, go through the model at a time."""


class Keep(Protocol):
    """Takes the keys and values of one layer into a cache of replies.

    keys, values: (n, key heads, width, d) of n prompts. to: (m,) the replies that get them. of: (m,) which prompt each replies
    to. columns: (m, length): where in the width the tokens stand that each reply sees, in order and ending with the prompt's
    last; what it says in front of a shorter prompt is of no use.
    """

    def __call__(
        self,
        layer: int,
        keys: torch.Tensor,
        values: torch.Tensor,
        *,
        to: torch.Tensor,
        of: torch.Tensor,
        columns: torch.Tensor,
    ) -> None: ...


class Prefilled(NamedTuple):
    """What is known once the prompts have passed."""

    hidden: torch.Tensor
    """(n_prompts, hidden): what the output layer takes, of their last tokens."""
    following: torch.Tensor
    """(n_prompts,): the position of each reply's first token."""
    n_passed: int
    """Tokens that passed, without padding."""


def prefill(
    model: Any, prompts: Sequence[Tokens], clips: Sequence[SeenClip], rows: Sequence[int], *, pad: int, keep: Keep
) -> Prefilled:
    """Let prompts pass, each about the clip beside it, and keep their keys and values for the replies to them.

    prompts: unpadded, of two tokens or more. Those whose clips are of one tensor of features may share. rows: for each reply
    the index of its prompt. pad: any token of text.
    """
    clip_of = [(id(clip.features), clip.grid, clip.seconds_per_pair) for clip in clips]
    prefixes = shared_prefixes(prompts, clip_of, model.config.video_token_id, model.config.image_token_id)
    hidden, following, order = [], [], []
    for prefix_part in _parts(prefixes):
        part = _Part(model, prompts, clips, prefix_part, pad)
        for some in part.portions():
            hidden.append(part.pass_rests(some, rows, keep))
            order += [part.members[i] for i in some]
        following.append(part.following)
    back = torch.tensor(np.argsort(order), device=hidden[0].device)
    n_passed = sum(p.n_tokens + sum(len(prompts[i]) - p.n_tokens for i in p.members) for p in prefixes)
    return Prefilled(torch.cat(hidden)[back], torch.cat(following)[back], n_passed)


def _parts(prefixes: Sequence[Prefix]) -> Iterator[list[Prefix]]:
    """As many prefixes at a time as `_PROMPT_TOKENS` allows, at least one."""
    part: list[Prefix] = []
    for prefix in prefixes:
        widest = max(each.n_tokens for each in (*part, prefix))
        if part and widest * (len(part) + 1) > _PROMPT_TOKENS:
            yield part
            part = []
        part.append(prefix)
    yield part


class _Part:
    """Prefixes that pass together, and the prompts that begin with them. The prefixes have passed once it is there."""

    def __init__(
        self, model: Any, prompts: Sequence[Tokens], clips: Sequence[SeenClip], prefixes: Sequence[Prefix], pad: int
    ) -> None:
        self._model, self._pad, self._device = model, pad, model.device
        self.members = [i for prefix in prefixes for i in prefix.members]
        self._prompts = [prompts[i] for i in self.members]
        self._prefix_of = [row for row, prefix in enumerate(prefixes) for _ in prefix.members]
        self._n_shared = [prefixes[row].n_tokens for row in self._prefix_of]
        about = [clips[i] for i in self.members]
        ids, mask = padded(self._prompts, pad)
        grids, seconds = torch.tensor([[c.grid] for c in about]), torch.tensor([[c.seconds_per_pair] for c in about])
        positions, after = token_positions(model.config, ids, mask, grids, seconds, rule_of(model.config))
        self._positions, self.following = positions, after.to(self._device)
        firsts = [self._prefix_of.index(row) for row in range(len(prefixes))]
        self._cache = self._pass_prefixes(
            [self._prompts[i][: self._n_shared[i]] for i in firsts], [about[i] for i in firsts], positions[:, firsts]
        )

    def portions(self) -> Iterator[range]:
        """The part's prompts, as many at a time as `_PROMPT_TOKENS` allows, at least one."""
        n, at_once = len(self._prompts), max(1, _PROMPT_TOKENS // max(map(len, self._prompts)))
        return (range(start, min(n, start + at_once)) for start in range(0, n, at_once))

    def _pass_prefixes(self, prefixes: Sequence[Tokens], about: Sequence[SeenClip], positions: torch.Tensor) -> DynamicCache:
        """Keys and values of the prefixes, which are padded on the right: no token sees what stands behind it, so that neither
        padding nor a mask against it is seen."""
        ids = padded(prefixes, self._pad)[0].to(self._device)
        embedded = self._model.get_input_embeddings()(ids)
        features = torch.cat([clip.features for clip in about]).to(embedded.dtype)
        # The features, one clip or image after the other, replace their tokens, which stand in the same order.
        config = self._model.config
        is_seen = (ids == config.video_token_id) | (ids == config.image_token_id)
        embedded = embedded.masked_scatter(is_seen[..., None], features)
        cache = DynamicCache(config=self._model.config.get_text_config())
        self._model.model.language_model(
            inputs_embeds=embedded,
            position_ids=positions[..., : ids.size(1)].to(self._device),
            past_key_values=cache,
            use_cache=True,
        )
        return cache

    def pass_rests(self, some: Sequence[int], rows: Sequence[int], keep: Keep) -> torch.Tensor:
        """Let the rests of some prompts of the part pass. Returns (n, hidden) of their last tokens, normed."""
        language, device = self._model.model.language_model, self._device
        n_shared = torch.tensor([self._n_shared[i] for i in some])
        n_rest = torch.tensor([len(self._prompts[i]) for i in some]) - n_shared
        ids = padded([self._prompts[i][self._n_shared[i] :] for i in some], self._pad)[0]
        own = torch.arange(ids.size(1))
        columns = (n_shared[:, None] + own).clamp(max=self._positions.size(2) - 1)
        positions = self._positions[0, list(some)].gather(1, columns)  # all three axes of a text's tokens have the same
        states = self._model.get_input_embeddings()(ids.to(device))
        turned = rotation(language.rotary_emb, positions.to(device), states.dtype)
        prefix_of = torch.tensor([self._prefix_of[i] for i in some], device=device)
        width = self._cache.layers[0].keys.size(2)
        before = (torch.arange(width) < n_shared[:, None])[:, None].expand(-1, len(own), -1)
        seen = torch.cat([before, (own <= own[:, None]).expand(len(some), -1, -1)], 2).to(device)
        group = language.config.num_attention_heads // language.config.num_key_value_heads
        mask = torch.zeros(seen.shape, dtype=states.dtype, device=device).masked_fill_(~seen, -torch.inf)
        mask = mask[:, None].expand(-1, group, -1, -1).flatten(1, 2)[:, None]  # once for all layers
        places = self._places(some, rows, n_shared, n_rest, width)
        for number, (layer, shared) in enumerate(zip(language.layers, self._cache.layers, strict=True)):
            query, key, value = heads(layer, states, turned)
            keys, values = (
                torch.cat([of_prefix[prefix_of], mine.transpose(1, 2)], 2)
                for of_prefix, mine in ((shared.keys, key), (shared.values, value))
            )
            keep(number, keys, values, **places)
            states = finished(layer, states, _attended(query, keys, values, mask, layer.self_attn.scaling))
        last = states[torch.arange(len(some), device=device), (n_rest - 1).to(device)]
        return rms_norm(language.norm, last)

    def _places(
        self, some: Sequence[int], rows: Sequence[int], n_shared: torch.Tensor, n_rest: torch.Tensor, width: int
    ) -> dict[str, torch.Tensor]:
        """`to`, `of` and `columns` of `Keep` for keys of a prefix's `width` and of a rest behind it."""
        here = {self.members[i]: place for place, i in enumerate(some)}
        to = torch.tensor([row for row, prompt in enumerate(rows) if prompt in here], dtype=torch.long)
        of = torch.tensor([here[prompt] for prompt in rows if prompt in here], dtype=torch.long)
        n = n_shared + n_rest
        number = torch.arange(int(n.max())) - (n.max() - n)[:, None]  # of each token in its prompt
        columns = torch.where(number < n_shared[:, None], number, number + (width - n_shared)[:, None]).clamp(min=0)
        return {name: x.to(self._device) for name, x in (("to", to), ("of", of), ("columns", columns[of]))}


def padded(prompts: Sequence[Tokens], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Prompts as rows of an even width, padded on the right, and which of their tokens are real: (n, width) both."""
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    ids = torch.full((len(prompts), even_width(int(lengths.max()))), pad)
    for row, prompt in zip(ids, prompts, strict=True):
        row[: len(prompt)] = torch.from_numpy(prompt)
    return ids, (torch.arange(ids.size(1)) < lengths[:, None]).long()


def _attended(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor, scale: float) -> torch.Tensor:
    """What (n, s, heads, d) queries attend to among (n, key heads, width, d), as (n, s, heads * d).

    Query heads that share keys become the queries of one head, so that keys are not repeated for them. mask: added to the
    scores, (n, 1, heads of a key head * s, width).
    """
    n, s, _, d = query.shape
    grouped = query.view(n, s, keys.size(1), -1, d).permute(0, 2, 3, 1, 4)  # (n, key heads, group, s, d)
    found = F.scaled_dot_product_attention(grouped.flatten(2, 3), keys, values, attn_mask=mask, scale=scale)
    return found.view(grouped.shape).permute(0, 3, 1, 2, 4).reshape(n, s, -1)
