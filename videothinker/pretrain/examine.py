"""How well a checkpoint watches and imagines: asked with its thought begun for it, and left to itself.

Replies are decoded as in `vt diagnose` and read by `mcq`. A thought that is begun with "cf" asks for what
would happen, and its answer is right if it is the true one; begun with "obs" it asks for what is seen, and its answer is right
if it is the observer's.
"""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import msgspec
import numpy as np
import torch
from transformers import AutoModelForImageTextToText

from videothinker import mcq
from videothinker.decode import Decoder, SeenClip
from videothinker.pretrain import packed
from videothinker.pretrain.lessons import Words, as_they_are
from videothinker.pretrain.scenes import Bools, Scenes
from videothinker.world import draw

_ROWS = 4096
"""Replies written at a time."""


class Scores(msgspec.Struct, frozen=True, kw_only=True):
    """Shares of whole answers that are right, in [0, 1], of greedy replies."""

    n_questions: int
    counterfactual: float
    """Thought begun with "cf", against the true answer."""
    counterfactual_inferential: float
    """The same, of the questions on which the observer is wrong (rule oracle)."""
    observed: float
    """Thought begun with "obs", against the observer's answer."""
    greedy: float
    """Left to itself, against the true answer."""
    greedy_inferential: float
    shortcut: float
    """Left to itself: share of inferential answers that equal the observer's."""
    chooses_counterfactual: float
    """Left to itself: share of thoughts that begin with "cf"."""
    readable: float
    """Left to itself: share of replies from which an answer could be read."""

    @classmethod
    def of(cls, parts: "Sequence[Marks]") -> "Scores":
        """The shares of all questions together."""
        marks = Marks(*(np.concatenate(fields) for fields in zip(*parts, strict=True)))
        return cls(
            n_questions=len(marks.inferential),
            counterfactual=_share(marks.counterfactual),
            counterfactual_inferential=_share(marks.counterfactual[marks.inferential]),
            observed=_share(marks.observed),
            greedy=_share(marks.greedy),
            greedy_inferential=_share(marks.greedy[marks.inferential]),
            shortcut=_share(marks.shortcut[marks.inferential]),
            chooses_counterfactual=_share(marks.chooses_counterfactual),
            readable=_share(marks.readable),
        )


class Marks(NamedTuple):
    """What `Scores` counts, question by question: (n,) each."""

    inferential: Bools
    counterfactual: Bools
    observed: Bools
    greedy: Bools
    shortcut: Bools
    chooses_counterfactual: Bools
    readable: Bools


def plain_copy(model: Any) -> Any:
    """The model for inference: bfloat16, transformers' own attention, nothing compiled. It can be saved and asked."""
    config = deepcopy(model.config)
    copy = AutoModelForImageTextToText.from_config(config, dtype=torch.bfloat16, attn_implementation="sdpa")
    copy.load_state_dict({name: weight.bfloat16() for name, weight in model.state_dict().items()})
    copy.generation_config = deepcopy(model.generation_config)
    return copy.to(next(model.parameters()).device).eval()


@torch.inference_mode()
def examine(
    model: Any,
    processor: Any,
    sets: Sequence[Scenes],
    layout: packed.Layout,
    words: Words,
    *,
    n_questions: int,
    max_new_tokens: int,
) -> list[Marks]:
    """Ask the first `n_questions` questions about each scene of each set, seen as it is; all replies are written together."""
    device = next(model.parameters()).device
    copy = plain_copy(model)
    if device.type == "cpu":
        copy = copy.float()
    packed.prepare(copy, layout, flex=False, compiled=False)
    prompts: list[list[int]] = []
    asked: list[SeenClip] = []
    answers: list[tuple[Any, Any]] = []
    beginning = layout.beginning.tolist()
    for scenes in sets:
        frames = draw.frames(
            as_they_are(scenes).clips().rollouts(), width=layout.width, height=layout.height, device=str(device)
        )
        seen = [packed.see(copy, packed.patches(part, processor).to(copy.dtype), layout) for part in frames.split(128)]
        clips = [SeenClip(features, layout.grid, layout.seconds_per_grid) for features in torch.cat(seen)]
        scene, question = (scenes.lengths[:, :n_questions] > 0).nonzero()
        answers.append((scenes.gold[scene, question], scenes.observer[scene, question]))
        for s, q in zip(scene, question, strict=True):
            prompts.append(beginning + scenes.prompts[s, q, : scenes.lengths[s, q]].tolist())
            asked.append(clips[s])
    obs, cf = words.modes.tolist()
    n = len(prompts)
    begun = [[words.think[0], cf]] * n + [[words.think[0], obs]] * n + [[]] * n
    texts = _replies(copy, processor, prompts * 3, begun, asked * 3, max_new_tokens)
    by_cf, by_obs, free = texts[:n], texts[n : 2 * n], texts[2 * n :]
    found, first = [], 0
    for gold, observer in answers:
        part = slice(first, first + len(gold))
        first += len(gold)
        found.append(
            Marks(
                inferential=(gold != observer).any(-1),
                counterfactual=_right(by_cf[part], gold),
                observed=_right(by_obs[part], observer),
                greedy=_right(free[part], gold),
                shortcut=_right(free[part], observer),
                chooses_counterfactual=np.array([text.startswith("<think>cf") for text in free[part]], np.bool_),
                readable=np.array([mcq.parse_reply(text, 4) is not None for text in free[part]], np.bool_),
            )
        )
    return found


def _right(texts: list[str], answers: Any) -> Bools:
    chosen = [mcq.parse_reply(text, 4) for text in texts]
    return np.array([c is not None and _marks(c) == tuple(a) for c, a in zip(chosen, answers, strict=True)], np.bool_)


def _marks(chosen: tuple[str, ...]) -> tuple[bool, ...]:
    return tuple(letter in chosen for letter in mcq.LETTERS[:4])


def _share(right: Any) -> float:
    return float(right.mean()) if len(right) else 0.0


def _replies(
    model: Any,
    processor: Any,
    prompts: list[list[int]],
    begun: list[list[int]],
    clips: Sequence[SeenClip],
    max_new_tokens: int,
) -> list[str]:
    """Greedy replies, each with its given beginning, to prompts about clips."""
    decoder = Decoder(
        model,
        eos=[processor.tokenizer.eos_token_id],
        pad=processor.tokenizer.pad_token_id,
        suppress=[model.config.image_token_id, model.config.video_token_id],
    )
    texts: list[str] = []
    for i in range(0, len(prompts), _ROWS):
        starts = begun[i : i + _ROWS]
        rows = [prompt + start for prompt, start in zip(prompts[i : i + _ROWS], starts, strict=True)]
        new = decoder.reply(rows, clips[i : i + _ROWS], max_new_tokens=max_new_tokens)
        whole = [start + reply for start, reply in zip(starts, new, strict=True)]
        texts += processor.batch_decode(whole, skip_special_tokens=True)
    return texts
