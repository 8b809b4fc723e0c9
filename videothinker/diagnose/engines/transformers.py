"""Replies by transformers' `generate`, for any video-language model that it loads.

Where the model can be given a clip's features, what the prompts about one clip begin with passes it once, and `generate`
goes on from the keys and values of that.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import (
    Cache,
    DynamicCache,
    GenerationConfig,
    LogitsProcessorList,
    StaticCache,
    StoppingCriteriaList,
)
from transformers.modeling_outputs import BaseModelOutputWithPooling

from videothinker.diagnose.engines.base import BATCH, Begun, Row, gate_of, in_stages, load_for, reply_seed, up_to_end
from videothinker.diagnose.engines.choosing import Chooser, Race, Stopping
from videothinker.diagnose.engines.packed import Ends, Packed, additive_mask, packed, sources, summed
from videothinker.diagnose.fed import PASSED
from videothinker.diagnose.reply import Reply
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.diagnose.stopping import Watch
from videothinker.models.load import Loaded
from videothinker.models.prefixes import Prefix, shared_prefixes


def open_engine(ref: str, settings: DiagnosisSettings, *, trust_remote_code: bool = False) -> "TransformersEngine":
    """Load the checkpoint for this engine.

    Raises:
        VtError: the checkpoint cannot be loaded.
    """
    loaded = load_for(ref, settings, trust_remote_code=trust_remote_code)
    return TransformersEngine(loaded, settings)


class TransformersEngine:
    """An `Engine`. It replaces the model's generation settings by its own."""

    def __init__(self, loaded: Loaded, settings: DiagnosisSettings) -> None:
        self.loaded, self._settings = loaded, settings
        self._gate = gate_of(loaded.processor, settings)
        # The checkpoint's own generation settings (Qwen2.5-VL: repetition penalty 1.05) would differ from checkpoint to
        # checkpoint, and fill what a call leaves open. A sampled placeholder would stand for a clip that is not there.
        self._fixed = loaded.attention == "sdpa" and loaded.device.type == "cuda" and loaded.is_tested
        self._n_passed = 0
        loaded.model.generation_config = GenerationConfig(
            eos_token_id=loaded.eos,
            pad_token_id=loaded.pad,
            suppress_tokens=loaded.placeholders or None,
            disable_compile=self._fixed,
        )

    @torch.inference_mode()
    def reply(self, rows: Sequence[Row]) -> list[Reply]:
        """One reply per row."""
        if self._gate.at is not None:
            return in_stages(self, rows)
        prefixes = self._prefixes(rows)
        found = self._generate(self._collate(rows) if prefixes is None else self._behind(rows, prefixes), rows)
        return [up_to_end(*reply, self.loaded.eos) for reply in found.replies()]

    @torch.inference_mode()
    def begin(self, rows: Sequence[Row]) -> list[Reply | Begun]:
        """One reply per row, those that are not sure enough of their first answer as far as that.

        A model that is fed pixels for every question writes all to their ends.
        """
        can_leave = all(row.vision is not None for row in rows)
        prefixes = self._prefixes(rows)
        inputs = self._collate(rows) if prefixes is None else self._behind(rows, prefixes)
        found = self._generate(inputs, rows, leaves=can_leave)
        replies = [up_to_end(*reply, self.loaded.eos) for reply in found.replies()]
        cut = [self._gate.cut(reply) for reply in replies]
        return [
            Begun(row, _Held(reply, found.cache_of(number)))
            if can_leave and reply.cut and len(reply.tokens) < self._settings.max_new_tokens
            else reply
            for number, (row, reply) in enumerate(zip(rows, cut, strict=True))
        ]

    @torch.inference_mode()
    def go_on(self, begun: Sequence[Begun]) -> list[Reply]:
        """The whole replies of those that were begun; a model that is fed pixels has none."""
        if not begun:
            return []
        limit = self._settings.max_new_tokens
        rows = [each.row._replace(ids=[*each.row.ids, *each.held.reply.tokens]) for each in begun]
        inputs = self._behind_caches(rows, [each.held.cache for each in begun])
        found = self._generate(inputs, rows, before=[each.held.reply for each in begun])
        return [
            self._gate.cut(up_to_end(tokens[:limit], logprobs[:limit], self.loaded.eos)) for tokens, logprobs in found.replies()
        ]

    @torch.inference_mode()
    def _generate(
        self, inputs: dict[str, Any], rows: Sequence[Row], *, before: Sequence[Reply] = (), leaves: bool = False
    ) -> "_Generated":
        """What the model writes behind `inputs`, those of the rows' prompts or of prompts and what was written `before`."""
        settings = self._settings
        seeds = [reply_seed(settings.seed, row.question_id) for row in rows]
        n_before = [len(reply.tokens) for reply in before] or [0] * len(rows)
        race = Race(settings.temperature, seeds, settings.top_p, n_before) if settings.temperature > 0 else None
        chooser = Chooser(race)
        if self._fixed:
            inputs["past_key_values"] = self._fixed_cache(inputs)
        n_prompt = inputs["input_ids"].shape[1]
        watch = Watch(self._gate, len(rows))
        stopping = [] if self._gate.at is None else [Stopping(watch, n_prompt, chooser, before, leaves=leaves)]
        output = self.loaded.model.generate(
            **inputs,
            do_sample=False,
            max_new_tokens=settings.max_new_tokens - min(n_before),
            logits_processor=LogitsProcessorList([chooser]),  # comes after transformers' own, which suppress placeholders
            stopping_criteria=StoppingCriteriaList(stopping),
            return_dict_in_generate=True,
        )
        return _Generated(
            output.sequences[:, n_prompt:].tolist(),
            chooser.logprobs(),
            before,
            output.past_key_values,
            inputs["attention_mask"],
        )

    @torch.inference_mode()
    def score(self, rows: Sequence[Row], ends: Sequence[Ends]) -> list[list[float]]:
        """Log-probabilities of continuations: all of a row's in one sequence where masks can part them, else in a row each."""
        layers = set(getattr(self.loaded.model.config.get_text_config(), "layer_types", None) or ["full_attention"])
        can_mask = self.loaded.attention in ("sdpa", "eager") and layers == {"full_attention"}
        if can_mask and all(row.vision is not None for row in rows):
            return self._score_packed(rows, ends)
        alone = [row._replace(ids=[*row.ids, *end]) for row, of_row in zip(rows, ends, strict=True) for end in of_row]
        n_last = [len(end) for of_row in ends for end in of_row]
        # As many at once as there are rows, so that fewer rows take less memory.
        spans = [slice(start, start + len(rows)) for start in range(0, len(alone), len(rows))]
        scores = iter([score for span in spans for score in self._score_alone(alone[span], n_last[span])])
        return [[next(scores) for _ in of_row] for of_row in ends]

    def _score_packed(self, rows: Sequence[Row], ends: Sequence[Ends]) -> list[list[float]]:
        model = self.loaded.model
        prompts = [np.array(row.ids) for row in rows]
        prefixes = shared_prefixes(prompts, [id(row.vision) for row in rows], self.loaded.video_tokens[0])
        whole = [row._replace(ids=[*row.ids, *chain(*of_row)]) for row, of_row in zip(rows, ends, strict=True)]
        inputs = self._behind(whole, prefixes)
        n_cached = max(prefix.n_tokens for prefix in prefixes)
        ids = inputs["input_ids"][:, n_cached:]
        places = Packed(*(each.to(ids.device) for each in packed(ends, ids.size(1))))
        hidden = model.model(
            input_ids=ids,
            attention_mask=additive_mask(inputs["attention_mask"], places.end, model.dtype),
            position_ids=inputs["position_ids"][..., n_cached:] - places.back,
            past_key_values=inputs["past_key_values"],
        ).last_hidden_state
        found = []
        for states, of_row in zip(hidden, ends, strict=True):  # row by row, because the logits of all are gigabytes
            n = sum(map(len, of_row))
            logits = model.lm_head(states[-n - 1 :][sources(of_row)])
            found.append(summed(self._chosen(logits, torch.tensor([*chain(*of_row)], device=ids.device)), of_row))
        return found

    def _score_alone(self, rows: Sequence[Row], n_last: Sequence[int]) -> list[float]:
        """For each row the log-probability of its last `n_last` tokens."""
        inputs, most = self._collate(rows), max(n_last)
        logits = self.loaded.model(**inputs, logits_to_keep=most + 1).logits[:, -most - 1 : -1]
        chosen = self._chosen(logits, inputs["input_ids"][:, -most:])  # rows are padded on the left
        return [float(row[most - n :].sum()) for row, n in zip(chosen, n_last, strict=True)]

    def _chosen(self, logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """(..., V) logits, (...) tokens -> (...) log-probabilities, in float32 and with placeholders excluded."""
        logits = logits.float()
        logits.index_fill_(-1, torch.tensor(self.loaded.placeholders, device=logits.device).long(), -torch.inf)
        return logits.log_softmax(-1).gather(-1, tokens[..., None])[..., 0]

    def n_at_once(self, n_tokens: int) -> int:
        """A number that has served on every GPU so far, whatever the prompts' length."""
        return BATCH

    def at(self, settings: DiagnosisSettings) -> "TransformersEngine":
        """The same checkpoint at other settings."""
        return TransformersEngine(self.loaded, settings)

    def free(self) -> None:
        """Give back what PyTorch's allocator holds; nothing else is kept between calls."""
        torch.cuda.empty_cache()

    def describe(self) -> dict[str, Any]:
        """`engine`: "transformers", and the tokens that passed."""
        return {"engine": "transformers", PASSED: self._n_passed}

    def _prefixes(self, rows: Sequence[Row]) -> list[Prefix] | None:
        """What the rows share; None where that is nothing, or the model is fed pixels. What will pass is counted."""
        n_tokens = sum(len(row.ids) for row in rows)
        if any(row.vision is None for row in rows):
            prefixes = []
        else:
            prompts = [np.array(row.ids) for row in rows]
            prefixes = shared_prefixes(prompts, [id(row.vision) for row in rows], self.loaded.video_tokens[0])
        n_saved = sum(prefix.n_tokens * (len(prefix.members) - 1) for prefix in prefixes)
        self._n_passed += n_tokens - n_saved
        return prefixes if n_saved else None

    def _behind(self, rows: Sequence[Row], prefixes: Sequence[Prefix]) -> dict[str, Any]:
        """What `generate` takes to go on behind the rows' prefixes, which pass here."""
        model = self.loaded.model
        beginnings = [
            rows[prefix.members[0]]._replace(ids=rows[prefix.members[0]].ids[: prefix.n_tokens]) for prefix in prefixes
        ]
        cache = DynamicCache(config=model.config.get_text_config())
        model(**self._collate(beginnings), past_key_values=cache, use_cache=True, logits_to_keep=1)
        prefix_of = {i: number for number, prefix in enumerate(prefixes) for i in prefix.members}
        cache.batch_select_indices(torch.tensor([prefix_of[i] for i in range(len(rows))], device=self.loaded.device))
        whole = self._collate(
            [row._replace(vision=None) for row in rows], [prefixes[prefix_of[i]].n_tokens for i in range(len(rows))]
        )
        return self._positioned(whole, cache)

    def _behind_caches(self, rows: Sequence[Row], caches: Sequence[torch.Tensor]) -> dict[str, Any]:
        """What `generate` takes to go on behind caches of all tokens of the rows but the last, which are padded on the left."""
        config = self.loaded.model.config.get_text_config()
        widths = [cache.size(3) for cache in caches]
        whole = self._collate([row._replace(vision=None) for row in rows], widths)
        joined = caches[0].new_zeros(*caches[0].shape[:2], len(caches), caches[0].size(2), max(widths), caches[0].size(4))
        for row, cache in enumerate(caches):
            joined[:, :, row, :, max(widths) - cache.size(3) :] = cache
        filled = DynamicCache(config=config)
        for number, (keys, values) in enumerate(joined):
            filled.update(keys, values, number)
        return self._positioned(whole, filled)

    def _positioned(self, whole: dict[str, Any], cache: Cache) -> dict[str, Any]:
        """What `generate` takes to go on behind a cache, which would count on from the positions of what is in that."""
        ids = whole.pop("input_ids")
        positions, _ = self.loaded.model.model.get_rope_index(ids, **whole)
        return {
            "input_ids": ids,
            "attention_mask": whole["attention_mask"],
            "position_ids": positions,
            "past_key_values": cache,
        }

    def _fixed_cache(self, inputs: dict[str, Any]) -> Cache:
        """A cache with room for all of the reply, because growing one by a token takes new GPU memory for every layer at every
        token; with what `inputs` have in theirs."""
        length = inputs["input_ids"].shape[1] + self._settings.max_new_tokens
        fixed = StaticCache(config=self.loaded.model.config, max_cache_len=length)
        filled = inputs.get("past_key_values")
        for number, layer in enumerate(filled.layers if filled is not None else []):
            fixed.update(layer.keys, layer.values, number)
        return fixed

    def _collate(self, rows: Sequence[Row], n_shared: Sequence[int] | None = None) -> dict[str, Any]:
        """Rows as one batch: values per token are padded on the left, everything else is concatenated along the first axis.

        n_shared: so many tokens of each row are padded by themselves, and the others behind them by themselves too.
        """
        device, start = self.loaded.device, rows[0].start
        n_shared = [0] * len(rows) if n_shared is None else n_shared
        before = max(n_shared)
        behind = max(len(row.ids) - n for row, n in zip(rows, n_shared, strict=True))

        def padded(each: Sequence[Sequence[int]], fill: int) -> torch.Tensor:
            filled = [
                [*[fill] * (before - n), *values[:n], *[fill] * (behind - len(values) + n), *values[n:]]
                for values, n in zip(each, n_shared, strict=True)
            ]
            return torch.tensor(filled, device=device)

        batch: dict[str, Any] = {"input_ids": padded([row.ids for row in rows], self.loaded.pad)}
        for key in start.marks:
            of_end = int(key == "attention_mask")  # the end is text: it is attended to, and all its other marks are 0
            marks = [row.start.marks[key][: len(row.ids)] + [of_end] * (len(row.ids) - len(row.start.ids)) for row in rows]
            batch[key] = padded(marks, 0)
        for key in start.tensors:
            parts = [row.start.tensors[key] for row in rows]
            whole = isinstance(parts[0], torch.Tensor)
            batch[key] = torch.cat(parts).to(device) if whole else [x for part in parts for x in part]
        visions = [row.vision for row in rows if row.vision is not None]
        if visions:
            output = BaseModelOutputWithPooling(pooler_output=tuple(vision.features for vision in visions))
            if visions[0].deepstack:
                # From one list of layers per row to one list of rows per layer, as the model takes them.
                output.deepstack_features = list(zip(*(vision.deepstack for vision in visions), strict=True))
            batch["mm_encoder_outputs"] = {"video": output}
        return batch


class _Held(NamedTuple):
    """What it takes to go on with a reply."""

    reply: Reply
    """What was written."""
    cache: torch.Tensor
    """(layers, 2, key heads, n, d): keys and values of its prompt and of all that was written but the last token."""


class _Generated(NamedTuple):
    """What one call of `generate` has left."""

    tokens: list[list[int]]
    logprobs: list[list[float]]
    """Both by row, the same number for each."""
    before: Sequence[Reply]
    """What was written of each reply before; nothing for all if it is empty."""
    cache: Cache
    mask: torch.Tensor
    """(B, tokens): which tokens were there, in front of what was written now."""

    def replies(self) -> list[tuple[list[int], list[float]]]:
        """Tokens and log-probabilities of each whole reply."""
        pairs = zip(self.tokens, self.logprobs, strict=True)
        if not self.before:
            return list(pairs)
        return [
            ([*begun.tokens, *tokens], [*begun.logprobs, *logprobs])
            for begun, (tokens, logprobs) in zip(self.before, pairs, strict=True)
        ]

    def cache_of(self, row: int) -> torch.Tensor:
        """`_Held.cache` of a row; the last token that was written has not been fed."""
        own = self.mask[row].nonzero()[:, 0]
        n = self.mask.size(1)
        columns = torch.cat([own, torch.arange(n, n + len(self.tokens[row]) - 1, device=own.device)])
        return torch.stack(
            [torch.stack([part[row][:, columns] for part in (each.keys, each.values)]) for each in self.cache.layers]
        )
