"""Questions as a checkpoint reads them: in its chat template, and as tokens."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, NamedTuple

from videothinker import answers
from videothinker.clips import default_workers
from videothinker.diagnose import protocols
from videothinker.diagnose.protocols.base import Prompt
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.models.chat import chat
from videothinker.prompts import template
from videothinker.records import Question
from videothinker.records.prompt import Template
from videothinker.records.question import Kind


class Prompts(NamedTuple):
    """The prompts of some questions, by question id, in the order of the questions."""

    texts: dict[str, str]
    """Whole prompts in the chat template, with one placeholder for the clip."""
    ends: dict[str, list[int]] | None
    """The tokens behind the clip; None where prompts differ before their clip too, or have no placeholder for it."""


Put = Callable[[Question], Prompt]
"""Puts a question into words."""

Shows = Literal["video", "image"] | None
"""What a prompt has a placeholder for."""

SHOWS: dict[Kind, Shows] = {Kind.CLIP: "video", Kind.IMAGE: "image", Kind.TEXT: None}


def put_by(settings: DiagnosisSettings) -> Put:
    """How the settings put questions: by a template, in a style of ours, or in the words of their protocol; and how replies
    begin.
    """
    if settings.template is not None:
        put = by_template(settings.template)
    else:
        put = protocols.find(settings.protocol).prompt if settings.prompt is None else in_style(settings.prompt)
    return begun(put, settings.prefill) if settings.prefill else put


def begun(put: Put, prefill: str) -> Put:
    """The same prompts with replies that begin with `prefill`, unless they are made to begin otherwise."""

    def prompt(question: Question) -> Prompt:
        found = put(question)
        return found if found.prefill else found._replace(prefill=prefill)

    return prompt


def in_style(style: answers.Style) -> Put:
    """Our prompts, which leave the system text to the template and the reply to the model."""
    return lambda question: Prompt(answers.render(question, style))


def by_template(of_file: Template) -> Put:
    """The words of a file, which leave the reply to the model."""

    def put(question: Question) -> Prompt:
        return Prompt(*template.render(of_file, question))

    return put


def texts_of(processor: Any, questions: Sequence[Question], put: Put) -> dict[str, str]:
    """The whole prompts of questions about clips, images and nothing, by question id."""
    found: dict[str, str] = {}
    for kind, shows in SHOWS.items():
        some = [question for question in questions if question.kind is kind]
        if some:
            found |= dict(zip([one.question_id for one in some], chats(processor, some, put, shows), strict=True))
    return found


def write_prompts(processor: Any, questions: Sequence[Question], put: Put) -> Prompts:
    """All prompts of questions about clips, rendered and tokenized in one call."""
    texts = chats(processor, questions, put)
    ids = [question.question_id for question in questions]
    return Prompts(dict(zip(ids, texts, strict=True)), _ends(processor, ids, texts))


def chats(processor: Any, questions: Sequence[Question], put: Put, shows: Shows = "video") -> list[str]:
    """Every question in the processor's chat template; all of them show the same kind of thing.

    The template is filled in for the first and the last question only, because that takes longer than anything else here. If
    the last shows that it changes a prompt's text, or questions differ in more than what they ask, it is filled in for all.
    """
    prompts = [put(question) for question in questions]
    first, last = prompts[0], prompts[-1]
    around = _chat(processor, first, shows).split(first.user)
    alike = len({(prompt.system, prompt.prefill) for prompt in prompts}) == 1
    if alike and len(around) == 2 and last.user.join(around) == _chat(processor, last, shows):
        return [prompt.user.join(around) for prompt in prompts]
    return [_chat(processor, prompt, shows) for prompt in prompts]


def _chat(processor: Any, prompt: Prompt, shows: Shows) -> str:
    return chat(processor, prompt.user, system=prompt.system, prefill=prompt.prefill, shows=shows)


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
