"""VLMEvalKit's predictions, MODEL_DATASET.xlsx, .tsv or .json (PRED_FORMAT): its table of the data set + `prediction`.

`index` is the number of a row and names no question. The clip is `video_path`, or `prefix` + `video` + `suffix`; options are
the list in `candidates` or `options`, or the columns A, B, C and so on. A reply that the model class failed to give begins
with "Failed to obtain answer".
"""

from videothinker.diagnose.imports.opening import Opened, Row
from videothinker.diagnose.imports.told import Fields, Told, options, said, word, words

NAME = "VLMEvalKit"
NEEDS = "VLMEvalKit: `index` and `prediction`"
_FAILED = "Failed to obtain answer"


def is_of(opened: Opened) -> bool:
    """By the columns that all its data sets have."""
    return {"index", "prediction"} <= opened.columns


def read(row: Row, opened: Opened) -> Told:
    """A row of the data set's table."""
    fields = row.fields
    found = said(fields, "prediction")
    failed = found is not None and found.startswith(_FAILED)
    return Told(
        place=row.place,
        reply=None if failed else found,
        failed=f"the evaluator says: {found}" if failed else None,
        fault="has no reply; expected text in `prediction`" if found is None else None,
        ids=words(fields, "question_id"),
        hints=words(fields, "index"),
        text=word(fields, "question"),
        options=options(fields, "candidates", "options"),
        clip=_clip(fields),
    )


def _clip(fields: Fields) -> str | None:
    if (path := word(fields, "video_path")) is not None:
        return path
    name = word(fields, "video")
    return None if name is None else (word(fields, "prefix") or "") + name + (word(fields, "suffix") or "")
