"""inspect_ai's logs: the .eval zip, or its .json form: {"eval": ..., "samples": [{id, input, choices, output, ...}]}.

The reply is `output.completion`. A sample's `id` names its question if it was given by the data set; inspect_ai numbers others
from 1, so it only decides between questions that the words leave open. `question_id` and the clip (`video`, `video_path` or
`clip`) come from `metadata`. A sample that ended in an error was not answered. One epoch can be read.
"""

from typing import Any

from videothinker.diagnose.imports.opening import Opened, Row
from videothinker.diagnose.imports.told import Fields, Told, options, said, word, words

NAME = "inspect_ai"
NEEDS = "inspect_ai (logs): `samples` with `output.completion`"
_CUT = ("max_tokens", "model_length")
"""Reasons to stop at the token limit."""


def is_of(opened: Opened) -> bool:
    """By what a log says beside its samples."""
    return "eval" in opened.head or {"epoch", "input", "output"} <= opened.columns


def read(row: Row, opened: Opened) -> Told:
    """A sample."""
    fields = row.fields
    told = _of(fields.get("metadata"))
    output, attached = _of(fields.get("output")), _of(fields.get("attachments"))
    reply = _whole(said(output, "completion") or _content(output), attached)
    error = word(_of(fields.get("error")), "message")
    failed = error is not None and not reply
    name = fields.get("id")
    return Told(
        place=f"sample {name}, epoch {word(fields, 'epoch') or 1}",
        reply=None if failed else reply,
        failed=f"the sample ended in an error: {error}" if failed else None,
        fault="has no reply; expected text in `output.completion`" if reply is None and not failed else None,
        truncated=_stopped(output) in _CUT,
        n_tokens=_tokens(output),
        ids=tuple(dict.fromkeys([*words(told, "question_id"), *([name] if isinstance(name, str) else [])])),
        hints=words(fields, "id"),
        options=options(fields, "choices"),
        prompt=_prompt(fields, attached),
        clip=_clip(told, fields),
    )


def _of(value: Any) -> Fields:
    return value if isinstance(value, dict) else {}


def _choice(output: Fields) -> Fields:
    choices = output.get("choices")
    return _of(choices[0]) if isinstance(choices, list) and choices else {}


def _stopped(output: Fields) -> str | None:
    return word(_choice(output), "stop_reason")


def _tokens(output: Fields) -> int | None:
    found = _of(output.get("usage")).get("output_tokens")
    return found if isinstance(found, int) else None


def _content(output: Fields) -> str | None:
    """The text of the reply's message, for logs that leave `completion` out; None if there is no message."""
    message = _choice(output).get("message")
    return "\n".join(_texts(_of(message).get("content"))) if isinstance(message, dict) else None


def _texts(content: Any) -> list[str]:
    """The parts of a message that are text; reasoning, clips and tools are none."""
    if isinstance(content, str):
        return [content]
    parts = content if isinstance(content, list) else []
    return [text for part in parts if (text := word(_of(part), "text")) is not None]


_ATTACHMENT = "attachment://"


def _whole(text: str | None, attached: Fields) -> str | None:
    """The text itself, where a log keeps long ones aside under a hash."""
    if text is None or not text.startswith(_ATTACHMENT):
        return text
    return word(attached, text.removeprefix(_ATTACHMENT))


def _prompt(fields: Fields, attached: Fields) -> str | None:
    texts = [_whole(text, attached) for content in _contents(fields) for text in _texts(content)]
    return "\n".join(text for text in texts if text is not None) or None


def _contents(fields: Fields) -> list[Any]:
    """The content of every message of the input, which may be one text alone."""
    given = fields.get("input")
    return [_of(one).get("content") for one in given] if isinstance(given, list) else [given]


def _clip(told: Fields, fields: Fields) -> str | None:
    """From the metadata, else the path of a clip in the input, unless the log has the clip itself there."""
    parts = [_of(part) for content in _contents(fields) if isinstance(content, list) for part in content]
    paths = [path for part in parts if (path := word(part, "video")) is not None]
    named = word(told, "video", "video_path", "clip")
    return named or next((path for path in paths if not path.startswith((_ATTACHMENT, "data:"))), None)
