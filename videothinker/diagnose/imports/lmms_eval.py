"""lmms-eval's samples (`--log_samples`): DATE_samples_TASK.jsonl, one line per document.

The reply is `resps` or, where that is equal, `filtered_resps` alone. The document is not in the file. What is left of it is the
prompt in `input`, and what the task returns with its metrics: `question_id` of Video-MME, `id` of LongVideoBench, clip and
question of TempCompass. `doc_id` is the number of the document in the task's file, from 0.
"""

from typing import Any

from videothinker.diagnose.imports.opening import Opened, Row
from videothinker.diagnose.imports.told import Fields, Told, reply, word, words

NAME = "lmms-eval"
NEEDS = "lmms-eval (samples): `resps` or `filtered_resps`"


def is_of(opened: Opened) -> bool:
    """By the fields in which only this evaluator has the reply."""
    return bool({"resps", "filtered_resps"} & opened.columns)


def read(row: Row, opened: Opened) -> Told:
    """A logged document."""
    fields = row.fields
    said = next((text for name in ("resps", "filtered_resps") if (text := reply(fields.get(name))) is not None), None)
    holders: list[Fields] = [fields, *(value for value in fields.values() if isinstance(value, dict))]
    ids = [name for holder in holders for name in words(holder, "question_id")]
    return Told(
        place=row.place,
        reply=said,
        fault="has no reply; expected one text in `resps` or `filtered_resps`" if said is None else None,
        ids=tuple(dict.fromkeys([*ids, *(name for holder in holders[1:] for name in words(holder, "id"))])),
        hints=_numbers(opened, fields),
        text=_first(holders[1:], "question"),
        prompt=_prompt(fields.get("input")),
        clip=_first(holders, "video", "video_path", "video_id", "videoID"),
    )


def _first(holders: list[Fields], *names: str) -> str | None:
    return next((found for holder in holders if (found := word(holder, *names)) is not None), None)


def _numbers(opened: Opened, fields: Fields) -> tuple[str, ...]:
    """What a set that names its questions PART:ROW would call this one: for the task mvbench_action_count all of
    "mvbench_action_count:1", "action_count:1" and "count:1"."""
    number, task = fields.get("doc_id"), opened.path.stem.partition("_samples_")[2]
    if not isinstance(number, int) or not task:
        return ()
    parts = task.split("_")
    return tuple(f"{'_'.join(parts[begin:])}:{number + 1}" for begin in range(len(parts)))


def _prompt(said: Any) -> str | None:
    """The text of the prompt, which for chat models may be messages."""
    if isinstance(said, str):
        return said
    return "\n".join(texts) if (texts := list(_texts(said))) else None


def _texts(said: Any) -> list[str]:
    if isinstance(said, list):
        return [text for one in said for text in _texts(one)]
    if isinstance(said, dict):
        content = said.get("text", said.get("content"))
        return [content] if isinstance(content, str) else _texts(content)
    return []
