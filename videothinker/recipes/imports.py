"""Bring other evaluators' result files into a report: read them, keep what they answer as runs, and tell what they do not."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from videothinker import locks, store
from videothinker.curated import Curated
from videothinker.diagnose import files, runs
from videothinker.diagnose.imports import KIND, Imported, import_results
from videothinker.diagnose.runs import Run
from videothinker.errors import VtError

UNMATCHED = "unmatched.jsonl"
"""One line for each row of an imported file that answers no question."""


def read(
    named: Mapping[str, Sequence[Path]],
    sets: Mapping[str, Curated],
    *,
    rule: str | None = None,
    splits: Mapping[str, str] | None = None,
    strict: bool = False,
) -> list[Imported]:
    """What the result files of each checkpoint, by its name, come to.

    rule, splits: as for `import_results`. strict: no row may be left over.

    Raises:
        VtError: as `import_results` does, or a row answers no question and `strict` holds.
    """
    found = [import_results(name, paths, sets, rule=rule, splits=splits) for name, paths in named.items()]
    left = [row for each in found for row in each.unmatched]
    if strict and left:
        first = left[0]
        raise VtError(
            f"{first.file}: {first.place} {first.reason}; under --strict every row answers a question, and {len(left):,} do not"
        )
    return found


def by_set(imported: Sequence[Imported], sets: Mapping[str, Curated]) -> dict[str, list[Run]]:
    """The imported runs of each data set, in the order of the checkpoints."""
    return {name: [each.runs[name] for each in imported if name in each.runs] for name in sets}


def check_folders(imported: Sequence[Imported], folders: Mapping[str, Path]) -> None:
    """Check that `write` would write over nothing but imports.

    folders: by data set, where its runs lie.

    Raises:
        VtError: a folder holds a run that was asked here.
    """
    for folder, _ in _placed(imported, folders):
        if (folder / files.RUN).is_file() and runs.read_record(folder).kind != KIND:
            raise VtError(f"{folder}: holds a run that vt diagnose asked; choose another --out, or another NAME for the import")


def _placed(imported: Sequence[Imported], folders: Mapping[str, Path]) -> list[tuple[Path, Run]]:
    return [(folders[key] / each.name, one) for each in imported for key, one in each.runs.items()]


def write(imported: Sequence[Imported], out: Path, folders: Mapping[str, Path]) -> None:
    """OUT/NAME/predictions.jsonl and run.json of every import, so that it can be read again without its file.

    folders: by data set, where its runs lie: `out`, or a folder in it; `check_folders` has looked at them. The rows that answer
    no question are in OUT/unmatched.jsonl.
    """
    if not imported:
        return
    for folder, one in _placed(imported, folders):
        with locks.alone(folder):
            store.write_jsonl(folder / files.PREDICTIONS, one.predictions)
            store.write_json(folder / files.RUN, one.record)
    left = [row for each in imported for row in each.unmatched]
    if left:
        store.write_jsonl(out / UNMATCHED, left)
    else:
        (out / UNMATCHED).unlink(missing_ok=True)
