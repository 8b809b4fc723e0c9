"""How well a checkpoint watches and imagines: asked with its thought begun for it, and left to itself.

Replies are decoded as in `vt diagnose` and read by `answers`. A thought that is begun with "cf" asks for what would happen, and
its answer is right if it is the true one. A thought that is begun with "obs" asks for what is seen, and its answer is right if
it is the observer's.
"""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import msgspec
import numpy as np
import torch
from transformers import AutoModelForImageTextToText

from videothinker import answers
from videothinker.models.decoder import Decoder
from videothinker.models.vision import SeenClip
from videothinker.pool import map_in_order
from videothinker.pretrain.course import CHUNK
from videothinker.pretrain.forward import prepare
from videothinker.pretrain.layout import Layout
from videothinker.pretrain.ranks import Ranks
from videothinker.pretrain.scenes import Bools, Scenes, Source, concatenate, marks
from videothinker.pretrain.tower import patches, visual_tokens
from videothinker.pretrain.variants import as_they_are
from videothinker.pretrain.vocabulary import WordIds
from videothinker.records import Form
from videothinker.world import draw

_SETS = answers.FORMS[Form.LETTERS]

_REPLIES = 4096
"""Replies that are written at a time."""
_CLIPS = 128
"""Clips that the vision tower sees at a time."""


class Scores(msgspec.Struct, frozen=True, kw_only=True):
    """Shares, in [0, 1], of greedy replies; an answer is right if all of it is."""

    n_questions: int
    counterfactual: float
    """With the thought begun as "cf": how often the answer is the true one."""
    counterfactual_inferential: float
    """The same, over the questions on which the observer is wrong (rule oracle)."""
    observed: float
    """With the thought begun as "obs": how often the answer is the observer's."""
    greedy: float
    """Left to itself: how often the answer is the true one."""
    greedy_inferential: float
    """The same, over the questions on which the observer is wrong."""
    shortcut: float
    """Left to itself: how often the answer is the observer's, over the questions on which the observer is wrong."""
    chooses_counterfactual: float
    """Left to itself: how often the thought begins with "cf"."""
    readable: float
    """Left to itself: how often an answer can be read from the reply."""

    @classmethod
    def of(cls, parts: "Sequence[Marks]") -> "Scores":
        """The shares over the questions of all parts together."""
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
    """What `Scores` counts, question by question: (n,) each, whether it is so."""

    inferential: Bools
    """The observer's answer is wrong."""
    counterfactual: Bools
    observed: Bools
    greedy: Bools
    shortcut: Bools
    chooses_counterfactual: Bools
    readable: Bools


def plain_copy(model: Any) -> Any:
    """Copy the model as it is saved and asked: in bfloat16, with transformers' own attention, and nothing compiled."""
    config = deepcopy(model.config)
    copy = AutoModelForImageTextToText.from_config(config, dtype=torch.bfloat16, attn_implementation="sdpa")
    copy.load_state_dict({name: weight.bfloat16() for name, weight in model.state_dict().items()})
    copy.generation_config = deepcopy(model.generation_config)
    return copy.to(next(model.parameters()).device).eval()


def exam_scenes(source: Source, firsts: Sequence[int], n: int, ranks: Ranks, workers: int) -> list[Scenes]:
    """This process's share of the `n` scenes from each of `firsts` on; `workers` processes simulate them."""
    wanted = [[*range(first, first + n)][ranks.rank :: ranks.size] for first in firsts]
    chunks = [part[i : i + CHUNK] for part in wanted for i in range(0, len(part), CHUNK)]
    read = list(map_in_order(source.read, chunks, min(len(chunks), workers)))
    each = len(read) // len(firsts)  # every set is cut into as many chunks
    return [concatenate(read[i : i + each]) for i in range(0, len(read), each)]


@torch.inference_mode()
def examine(
    model: Any,
    processor: Any,
    sets: Sequence[Scenes],
    layout: Layout,
    words: WordIds,
    *,
    n_questions: int,
    max_new_tokens: int,
) -> list[Marks]:
    """Ask the first `n_questions` questions about each scene of each set, in its own colours: `Marks` for each set.

    Every question is asked three times, with the thought begun as "cf", as "obs", and not begun. The replies to all questions
    of all sets are written together.
    """
    copy = plain_copy(model)
    if copy.device.type == "cpu":
        copy = copy.float()
    prepare(copy, layout, flex=False, compiled=False)
    prompts: list[list[int]] = []
    asked: list[SeenClip] = []
    truths: list[tuple[Bools, Bools]] = []
    beginning = layout.beginning.tolist()
    for scenes in sets:
        clips = _watch(copy, processor, scenes, layout)
        scene, question = (scenes.lengths[:, :n_questions] > 0).nonzero()
        truths.append((scenes.gold[scene, question], scenes.observer[scene, question]))
        for s, q in zip(scene, question, strict=True):
            prompts.append(beginning + scenes.prompts[s, q, : scenes.lengths[s, q]].tolist())
            asked.append(clips[s])
    obs, cf = words.modes.tolist()
    n = len(prompts)
    begun = [[words.think[0], cf]] * n + [[words.think[0], obs]] * n + [[]] * n
    texts = _replies(copy, processor, prompts * 3, begun, asked * 3, max_new_tokens)
    picked = [_SETS.parse(text, 4) for text in texts]
    by_cf, by_obs, free = picked[:n], picked[n : 2 * n], picked[2 * n :]
    found, first = [], 0
    for gold, observer in truths:
        part = slice(first, first + len(gold))
        first += len(gold)
        found.append(
            Marks(
                inferential=(gold != observer).any(-1),
                counterfactual=_right(by_cf[part], gold),
                observed=_right(by_obs[part], observer),
                greedy=_right(free[part], gold),
                shortcut=_right(free[part], observer),
                chooses_counterfactual=np.array([text.startswith("<think>cf") for text in texts[2 * n :][part]], np.bool_),
                readable=np.array([one is not None for one in free[part]], np.bool_),
            )
        )
    return found


def _watch(model: Any, processor: Any, scenes: Scenes, layout: Layout) -> list[SeenClip]:
    """What the model sees of each scene's clip."""
    rollouts = as_they_are(scenes).clips().rollouts()
    frames = draw.frames(rollouts, width=layout.width, height=layout.height, device=str(model.device))
    seen = [visual_tokens(model, patches(part, processor).to(model.dtype), layout) for part in frames.split(_CLIPS)]
    return [SeenClip(features, layout.grid, layout.seconds_per_grid) for features in torch.cat(seen)]


def _right(picked: Sequence[answers.Answer | None], truth: Bools) -> Bools:
    """(n,): whether each reply, as it was read, picks exactly the options that (n, 4) truth picks."""
    return np.array([one is not None and marks(one) == row for one, row in zip(picked, truth.tolist(), strict=True)], np.bool_)


def _share(marks: Bools) -> float:
    return float(marks.mean()) if len(marks) else 0.0


def _replies(
    model: Any,
    processor: Any,
    prompts: list[list[int]],
    begun: list[list[int]],
    clips: Sequence[SeenClip],
    max_new_tokens: int,
) -> list[str]:
    """Greedy replies to prompts about clips. Each reply has a beginning that is given, and is returned with it."""
    decoder = Decoder(
        model,
        eos=[processor.tokenizer.eos_token_id],
        pad=processor.tokenizer.pad_token_id,
        suppress=[model.config.image_token_id, model.config.video_token_id],
    )
    texts: list[str] = []
    for i in range(0, len(prompts), _REPLIES):
        some = slice(i, i + _REPLIES)
        starts = begun[some]
        rows = [prompt + start for prompt, start in zip(prompts[some], starts, strict=True)]
        new = decoder.reply(rows, clips[some], max_new_tokens=max_new_tokens)
        whole = [start + reply for start, reply in zip(starts, new, strict=True)]
        texts += processor.batch_decode(whole, skip_special_tokens=True)
    return texts
