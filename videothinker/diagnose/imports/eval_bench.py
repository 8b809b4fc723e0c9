"""`eval_bench.py` of Video-R1, VideoThinker and VideoRFT: {"results": [the record + "output", ...], "final_acc": [...]}.

Also the results alone, as a list or as lines. A batch of 64 questions that failed has "<answer>error</answer>" for every reply.
"""

from videothinker.diagnose.imports.opening import Opened, Row
from videothinker.diagnose.imports.told import Told, options, reply, word, words

NAME = "eval_bench"
NEEDS = "eval_bench (Video-R1, VideoThinker): `output`"
_FAILED = "<answer>error</answer>"


def is_of(opened: Opened) -> bool:
    """By the field in which only this evaluator has the reply."""
    return isinstance(opened.rows[0].fields.get("output", {}), str | None)


def read(row: Row, opened: Opened) -> Told:
    """A record of the evaluated file with `output`."""
    fields = row.fields
    said = reply(fields.get("output"))
    failed = said is not None and said.strip() == _FAILED
    return Told(
        place=row.place,
        reply=None if failed else said,
        failed="the evaluator failed on this batch" if failed else None,
        fault="has no reply; expected text in `output`" if said is None else None,
        ids=words(fields, "question_id"),
        hints=words(fields, "problem_id"),
        text=word(fields, "problem"),
        options=options(fields, "options"),
        clip=word(fields, "video", "path"),
    )
