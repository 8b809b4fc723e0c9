"""Questions as a checkpoint reads them: in its chat template, and as tokens."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from videothinker import answers
from videothinker.clips import default_workers
from videothinker.models.chat import chat
from videothinker.records import Question


class Prompts(NamedTuple):
    """The prompts of some questions, by question id, in the order of the questions."""

    texts: dict[str, str]
    """Whole prompts in the chat template, with one placeholder for the clip."""
    ends: dict[str, list[int]] | None
    """The tokens behind the clip; None where prompts differ before their clip too, or have no placeholder for it."""


def write_prompts(processor: Any, questions: Sequence[Question], style: answers.Style) -> Prompts:
    """All prompts, rendered and tokenized in one call."""
    texts = chats(processor, questions, style)
    ids = [question.question_id for question in questions]
    return Prompts(dict(zip(ids, texts, strict=True)), _ends(processor, ids, texts))


def chats(processor: Any, questions: Sequence[Question], style: answers.Style) -> list[str]:
    """Every question in the processor's chat template.

    The template is filled in for the first and the last question only, because that takes longer than anything else here. If
    the last shows that it changes a prompt's text, it is filled in for all.
    """
    prompts = [answers.render(question, style) for question in questions]
    around = chat(processor, prompts[0]).split(prompts[0])
    if len(around) == 2 and prompts[-1].join(around) == chat(processor, prompts[-1]):
        return [prompt.join(around) for prompt in prompts]
    return [chat(processor, prompt) for prompt in prompts]


def _ends(processor: Any, ids: Sequence[str], texts: Sequence[str]) -> dict[str, list[int]] | None:
    video_token = getattr(processor, "video_token", None)
    if not video_token or not all(video_token in text for text in texts):
        return None
    befores, _, ends = zip(*(text.rpartition(video_token) for text in texts), strict=True)
    if len(set(befores)) > 1:
        return None
    return dict(zip(ids, _tokenize(processor.tokenizer, ends), strict=True))


def _tokenize(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Tokens of every text, by as many threads as there are cores to share: one takes seconds for 10,000 prompts."""
    first: list[list[int]] = tokenizer(texts[:1], add_special_tokens=False)["input_ids"]  # sets it to pad and cut nothing
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        rest: list[list[int]] = tokenizer(texts[1:], add_special_tokens=False)["input_ids"] if texts[1:] else []
        return first + rest

    def encode(some: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in backend.encode_batch(list(some), add_special_tokens=False)]

    with ThreadPoolExecutor(default_workers()) as threads:
        parts = threads.map(encode, (texts[start : start + 256] for start in range(0, len(texts), 256)))
        return [ids for part in parts for ids in part]
