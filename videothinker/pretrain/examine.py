"""How well a checkpoint watches and imagines: asked with its thought begun for it, and left to itself.

Replies are decoded as in `vt diagnose` and read by `answers`. A thought that is begun with "cf" asks for what would happen, and
its answer is right if it is the true one. A thought that is begun with "obs" asks for what is seen, and its answer is right if
it is the observer's.

A checkpoint that is taught further forms (`forms`) is asked in them as well, left to itself: the question's factual twin, and
the question in the styles "twice" and "direct".
"""

from collections.abc import Iterable, Sequence
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
from videothinker.pretrain.scenes import DIRECT, TWICE, TWIN, Bools, Scenes, Source, concatenate, marks
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


class FormScores(msgspec.Struct, frozen=True, kw_only=True):
    """Shares, in [0, 1], of greedy replies in further forms; an answer is right if it is the true one and all of it is.

    A first answer counts where one is given: not of a reply that falls back.
    """

    twin: float
    """Asked the factual twin in words: how often the answer is what is seen."""
    twin_inferential: float
    """The same, over the questions on which the observer is wrong: who answers the question itself gets hardly any of these."""
    first: float
    """In the style "twice": how often the first answer is right."""
    first_inferential: float
    first_observed: float
    """How often the first answer is the observer's, over the questions on which the observer is wrong."""
    second: float
    """How often the second answer is right."""
    second_inferential: float
    falls_back: float
    """How often the first box holds the fallback in place of an answer."""
    well_laid_out: float
    """How often the whole reply is laid out as `twice.well_laid_out` asks."""
    direct: float
    """In the style "direct": how often the answer is right."""
    direct_inferential: float

    @classmethod
    def of(cls, marks: "FormMarks", inferential: Bools) -> "FormScores":
        """The shares over questions, of which some are inferential."""
        answers_first = ~marks.falls_back
        return cls(
            twin=_share(marks.twin),
            twin_inferential=_share(marks.twin[inferential]),
            first=_share(marks.first[answers_first]),
            first_inferential=_share(marks.first[answers_first & inferential]),
            first_observed=_share(marks.first_observed[answers_first & inferential]),
            second=_share(marks.second),
            second_inferential=_share(marks.second[inferential]),
            falls_back=_share(marks.falls_back),
            well_laid_out=_share(marks.well_laid_out),
            direct=_share(marks.direct),
            direct_inferential=_share(marks.direct[inferential]),
        )


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
    forms: FormScores | msgspec.UnsetType = msgspec.UNSET
    """Asked in further forms. Left out, and not written down, if it is not taught any."""

    @classmethod
    def of(cls, parts: "Sequence[Marks]") -> "Scores":
        """The shares over the questions of all parts together."""
        forms = FormMarks(*(np.concatenate(fields) for fields in zip(*(part.forms for part in parts), strict=True)))
        marks = Marks._make([*(np.concatenate(fields) for fields in zip(*(part[:-1] for part in parts), strict=True)), forms])
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
            forms=FormScores.of(forms, marks.inferential) if len(forms.twin) else msgspec.UNSET,
        )


class FormMarks(NamedTuple):
    """What `FormScores` counts, question by question: (n,) each, whether it is so; or (0,) each, if nothing was asked."""

    twin: Bools
    """The factual twin is answered with what is seen."""
    first: Bools
    first_observed: Bools
    """The first answer is the observer's."""
    second: Bools
    falls_back: Bools
    well_laid_out: Bools
    direct: Bools


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
    forms: FormMarks


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


class _Truth(NamedTuple):
    """What n questions are compared with: (n, 4) each, whether an option is in the answer."""

    gold: Bools
    observer: Bools
    shown: Bools


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

    Every question is asked three times, with the thought begun as "cf", as "obs", and not begun; and once in each further form
    in which it was put into words (`Scenes.form_prompts`). The replies to all questions of all sets are written together.
    """
    copy = plain_copy(model)
    if copy.device.type == "cpu":
        copy = copy.float()
    prepare(copy, layout, flex=False, compiled=False)
    prompts: list[list[int]] = []
    in_forms: list[list[list[int]]] = [[] for _ in range(sets[0].form_lengths.shape[-1])]
    asked: list[SeenClip] = []
    truths: list[_Truth] = []
    beginning = layout.beginning.tolist()
    for scenes in sets:
        clips = _watch(copy, processor, scenes, layout)
        scene, question = (scenes.lengths[:, :n_questions] > 0).nonzero()
        truths.append(_Truth(*(answer[scene, question] for answer in (scenes.gold, scenes.observer, scenes.shown))))
        for s, q in zip(scene, question, strict=True):
            prompts.append(beginning + scenes.prompts[s, q, : scenes.lengths[s, q]].tolist())
            asked.append(clips[s])
            for form, others in enumerate(in_forms):
                others.append(beginning + scenes.form_prompts[s, q, form, : scenes.form_lengths[s, q, form]].tolist())
    obs, cf = words.modes.tolist()
    n = len(prompts)
    begun: list[list[int]] = [[words.think[0], cf]] * n + [[words.think[0], obs]] * n + [[]] * (n * (1 + len(in_forms)))
    rows = prompts * 3 + [prompt for others in in_forms for prompt in others]
    texts = _replies(copy, processor, rows, begun, asked * (3 + len(in_forms)), max_new_tokens)
    by_cf, by_obs, free, *of_forms = (texts[i : i + n] for i in range(0, len(texts), n))
    found, first = [], 0
    for truth in truths:
        gold, observer, _ = truth
        part = slice(first, first + len(gold))
        first += len(gold)
        answer = _read(free[part])
        found.append(
            Marks(
                inferential=(gold != observer).any(-1),
                counterfactual=_right(_read(by_cf[part]), gold),
                observed=_right(_read(by_obs[part]), observer),
                greedy=_right(answer, gold),
                shortcut=_right(answer, observer),
                chooses_counterfactual=_each(text.startswith("<think>cf") for text in free[part]),
                readable=_each(one is not None for one in answer),
                forms=_form_marks([replies[part] for replies in of_forms], truth),
            )
        )
    return found


def _form_marks(replies: Sequence[Sequence[str]], truth: _Truth) -> FormMarks:
    """What n replies in each of the forms say; without any form nothing."""
    if not replies:
        return FormMarks(*[np.zeros(0, np.bool_)] * len(FormMarks._fields))
    both = [answers.read_twice(_SETS, text, 4) for text in replies[TWICE]]
    first = [one.first for one in both]
    return FormMarks(
        twin=_right(_read(replies[TWIN]), truth.shown),
        first=_right(first, truth.gold),
        first_observed=_right(first, truth.observer),
        second=_right([one.second for one in both], truth.gold),
        falls_back=_each(one.falls_back for one in both),
        well_laid_out=_each(answers.format_score(text, answers.Style.TWICE) == 1 for text in replies[TWICE]),
        direct=_right(_read(replies[DIRECT]), truth.gold),
    )


def _read(texts: Sequence[str]) -> list[answers.Answer | None]:
    return [_SETS.parse(text, 4) for text in texts]


def _each(marks: Iterable[bool]) -> Bools:
    return np.array([*marks], np.bool_)


def _watch(model: Any, processor: Any, scenes: Scenes, layout: Layout) -> list[SeenClip]:
    """What the model sees of each scene's clip."""
    rollouts = as_they_are(scenes).clips().rollouts()
    frames = draw.frames(rollouts, width=layout.width, height=layout.height, device=str(model.device))
    seen = [visual_tokens(model, patches(part, processor).to(model.dtype), layout) for part in frames.split(_CLIPS)]
    return [SeenClip(features, layout.grid, layout.seconds_per_grid) for features in torch.cat(seen)]


def _right(picked: Sequence[answers.Answer | None], truth: Bools) -> Bools:
    """(n,): whether each reply, as it was read, picks exactly the options that (n, 4) truth picks."""
    return _each(one is not None and marks(one) == row for one, row in zip(picked, truth.tolist(), strict=True))


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
