"""Plain CSV, TSV, JSON or JSON Lines, one reply per row, with columns of documented names.

`reply`, and `question_id` or else `question`, `options` and `video`. `reply` may be called `response` or `prediction`,
`question_id` `id`, and `video` `clip` or `video_path`. `options` is a list, or text that writes one, or the columns A, B and so
on. `status` (of `records.Status`), `error` and `tokens` are read where they are: the predictions.jsonl of a diagnosis is one of
these files.
"""

from videothinker.diagnose.imports.opening import Opened, Row
from videothinker.diagnose.imports.told import Told, options, said, word, words
from videothinker.records import Status

NAME = "plain"
NEEDS = "plain: `reply`, `response` or `prediction`"
_REPLY = ("reply", "response", "prediction")


def is_of(opened: Opened) -> bool:
    """By a column of replies."""
    return bool(set(_REPLY) & opened.columns)


def read(row: Row, opened: Opened) -> Told:
    """A row of the documented columns."""
    fields = row.fields
    found = said(fields, *_REPLY)
    lost = word(fields, "status") == Status.DECODE_ERROR or (found is None and word(fields, "error") is not None)
    tokens = word(fields, "tokens") or ""
    return Told(
        place=row.place,
        reply=None if lost else found,
        failed=(word(fields, "error") or "the file says so") if lost else None,
        fault="has no reply; expected text in `reply`" if found is None and not lost else None,
        truncated=word(fields, "status") == Status.TRUNCATED,
        n_tokens=int(tokens) if tokens.isascii() and tokens.isdigit() and len(tokens) < 10 else None,
        ids=words(fields, "question_id") or words(fields, "id"),
        text=word(fields, "question"),
        options=options(fields, "options"),
        clip=word(fields, "video", "video_path", "clip"),
    )
