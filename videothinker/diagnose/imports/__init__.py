"""Import result files of other evaluators as runs: the replies are theirs, and are read and graded as ours are.

A file is opened (`opening`), its format is known by its fields (a module for each, in `FORMATS`), every row is brought into one
form (`told`), and matched to the questions of one or several sets (`matching`). Rows in = rows that answer a question, of these
sets or another, + rows that are refused, each with its reason. docs/import.md has an example of each format.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from videothinker import store
from videothinker.curated import Curated
from videothinker.diagnose import files, run
from videothinker.diagnose.answerer import RawReply
from videothinker.diagnose.imports import eval_bench, inspect_ai, lmms_eval, plain, vlmevalkit
from videothinker.diagnose.imports.matching import Found, Matcher, Refused, Why
from videothinker.diagnose.imports.opening import Opened, Row, open_results
from videothinker.diagnose.imports.told import Told
from videothinker.diagnose.runs import Run, scored
from videothinker.errors import VtError
from videothinker.records import Question, RunRecord
from videothinker.records.run import AskedData, ImportedFile

KIND = "import"
"""`RunRecord.kind` of a run that was not asked here."""


class Format(Protocol):
    """A module that knows the result files of one evaluator."""

    NAME: str
    NEEDS: str
    """The format with the fields that it is known by, for messages."""

    def is_of(self, opened: Opened) -> bool:
        """Whether the file has the format."""

    def read(self, row: Row, opened: Opened) -> Told:
        """What a row tells."""


FORMATS: tuple[Format, ...] = (inspect_ai, eval_bench, lmms_eval, vlmevalkit, plain)
"""In the order in which they are tried."""


class Unmatched(msgspec.Struct, frozen=True, kw_only=True):
    """A row that answers no question."""

    name: str
    """Of the import."""
    file: str
    place: str
    why: Why
    reason: str
    """The end of a sentence that begins with the row."""


class Imported(NamedTuple):
    """What result files of one checkpoint came to."""

    name: str
    runs: dict[str, Run]
    """By data set; sets of which no question is answered are left out."""
    files: dict[str, list[ImportedFile]]
    """Counts of each file, by data set."""
    unmatched: list[Unmatched]


class _Match(NamedTuple):
    """A row, and by data set the question that it answers."""

    opened: Opened
    told: Told
    found: dict[str, Found]
    refused: Refused | None
    """None where something is found."""


def import_results(
    name: str,
    paths: Sequence[Path],
    sets: Mapping[str, Curated],
    *,
    rule: str | None = None,
    splits: Mapping[str, str] | None = None,
) -> Imported:
    """The runs, by data set, of one checkpoint's replies in other evaluators' result files.

    A question that the evaluator failed on becomes a decode error, not a wrong answer. rule: the labels to score under, in sets
    that have any. splits: which split's questions count, by set; a set that is not named has to be answered in one split alone.

    Raises:
        VtError: a file is no result file or is named twice, no row answers a question, or a set's rows are of several splits.
    """
    _check_once(name, paths)
    opened = [open_results(path) for path in paths]
    formats = [_format_of(one) for one in opened]
    asked = {key: _asked(curated, (splits or {}).get(key)) for key, curated in sets.items()}
    read = [(one, how.read(row, one)) for one, how in zip(opened, formats, strict=True) for row in one.rows]
    matches = _once([_match(told, one, asked) for one, told in read])
    chosen = {key: _split(one, key, matches) for key, one in asked.items()}
    matches = [_of_splits(one, asked, chosen) for one in matches]
    if not any(one.found for one in matches):
        first = next(one for one in matches if one.refused is not None)
        whose = "its" if len(opened) == 1 else f"the {len(opened)} files'"
        all_twice = all(one.refused.why is Why.TWICE for one in matches if one.refused is not None)
        does = "can be taken" if all_twice else "answers a question of the data"
        raise VtError(f"{first.opened.path}: {_told(first)}; none of {whose} {len(matches):,} rows {does}")
    counts = {
        key: [_counts(one, how, matches, key) for one, how in zip(opened, formats, strict=True)]
        for key in sets
        if any(key in one.found for one in matches)
    }
    runs = {
        key: _run(name, matches, key, asked[key].curated, split, counts[key], rule)
        for key, split in chosen.items()
        if split is not None and key in counts
    }
    return Imported(name, runs, counts, [_unmatched(name, one) for one in matches if one.refused is not None])


def _check_once(name: str, paths: Sequence[Path]) -> None:
    """Check that no file is named twice, be it by other words: each of its rows would be refused, as answered twice.

    Raises:
        VtError: one is.
    """
    by_file: dict[Path, Path] = {}
    for path in paths:
        first = by_file.get(path.resolve())
        if first is not None:
            also = "" if first == path else f", first as {first}"
            raise VtError(f"{path}: is given twice for the checkpoint '{name}'{also}; name each result file once")
        by_file[path.resolve()] = path


class _Asked(NamedTuple):
    """A data set, as rows are matched to it."""

    curated: Curated
    matcher: Matcher
    split_of: dict[str, str]
    """Every question's split, by question_id."""
    split: str | None
    """The split that was named; None if none was."""


def _asked(curated: Curated, split: str | None) -> _Asked:
    """A data set with the questions of all splits, without those that a training set leaves out."""
    if split is not None:
        curated.questions(split)  # so that a wrong name shows
    used = [one for one in curated.members if one.is_used]
    split_of = {one.question.question_id: one.split for one in used}
    return _Asked(curated, Matcher([one.question for one in used]), split_of, split)


def _format_of(opened: Opened) -> Format:
    found = next((one for one in FORMATS if one.is_of(opened)), None)
    if found is None:
        has = ", ".join(list(opened.rows[0].fields)[:12])
        raise VtError(
            f"{opened.path}: is of no known format: {opened.rows[0].place} has the fields {has or 'none'}; expected those of "
            f"{'; '.join(one.NEEDS for one in FORMATS)}"
        )
    return found


# ---- rows and questions ----------------------------------------------------------------------------------------------------


def _match(told: Told, opened: Opened, asked: Mapping[str, _Asked]) -> _Match:
    """A row with the questions that it answers, at most one of each set.

    Where sets have questions of one name, an id alone does not tell which set is meant.
    """
    if told.fault is not None:
        return _Match(opened, told, {}, Refused(Why.NO_REPLY, told.fault))
    by_set = {key: one.matcher.match(told) for key, one in asked.items()}
    found = {key: one for key, one in by_set.items() if isinstance(one, Found)}
    if len(found) > 1:
        sure = {key: one for key, one in found.items() if one.is_sure}
        if not sure:
            why = f"has an id that the sets {', '.join(found)} all have, and tells nothing else of its question"
            return _Match(opened, told, {}, Refused(Why.AMBIGUOUS, why))
        found = sure
    if found:
        return _Match(opened, told, found, None)
    order = list(Why)
    refusals = [one for one in by_set.values() if isinstance(one, Refused)]
    return _Match(opened, told, {}, max(refusals, key=lambda one: order.index(one.why)))


def _once(matches: Sequence[_Match]) -> list[_Match]:
    """The rows without those that answer one question several times: nothing says which reply is meant."""
    rows: dict[tuple[str, str], list[_Match]] = {}
    for each in matches:
        for key, one in each.found.items():
            rows.setdefault((key, one.question.question_id), []).append(each)
    checked = []
    for each in matches:
        found = {key: one for key, one in each.found.items() if len(rows[key, one.question.question_id]) == 1}
        if each.found and not found:
            key, one = next(iter(each.found.items()))
            alike = rows[key, one.question.question_id]
            other = next(row for row in alike if row is not each)
            of_what = f"question {one.question.question_id} (another is {_place_beside(other, each)})"
            why = f"is one of {len(alike):,} rows that answer {of_what}; keep one of them"
            each = each._replace(refused=Refused(Why.TWICE, why))
        checked.append(each._replace(found=found))
    return checked


def _place_beside(other: _Match, each: _Match) -> str:
    """Where a row stands, with its file unless that is the one of the row that the sentence is about."""
    if other.opened is each.opened:
        return other.told.place
    same = ", a file with the same content" if other.opened.sha256 == each.opened.sha256 else ""
    return f"{other.told.place} of {other.opened.path}{same}"


def _split(asked: _Asked, key: str, matches: Sequence[_Match]) -> str | None:
    """The split whose questions count; None where no row answers any of the set."""
    n = Counter(asked.split_of[one.found[key].question.question_id] for one in matches if key in one.found)
    if asked.split is not None or len(n) < 2:
        return asked.split or next(iter(n), None)
    told = ", ".join(f"{count:,} of {name}" for name, count in n.items())
    raise VtError(
        f"{matches[0].opened.path}: answers questions of several splits of {asked.curated.folder} ({told}), and a run "
        f"is of one; choose it with --split"
    )


def _of_splits(each: _Match, asked: Mapping[str, _Asked], chosen: Mapping[str, str | None]) -> _Match:
    """The row without questions of other splits than the chosen ones."""
    found = {key: one for key, one in each.found.items() if asked[key].split_of[one.question.question_id] == chosen[key]}
    if found or not each.found:
        return each._replace(found=found)
    key, one = next(iter(each.found.items()))
    split = asked[key].split_of[one.question.question_id]
    why = f"answers question {one.question.question_id} of split '{split}', not of '{chosen[key]}'"
    return each._replace(found={}, refused=Refused(Why.OTHER_SPLIT, why))


def _told(each: _Match) -> str:
    return f"{each.told.place} {each.refused.told if each.refused else ''}"


def _unmatched(name: str, each: _Match) -> Unmatched:
    assert each.refused is not None  # of the others there is nothing to tell
    file, place = each.opened.path.name, each.told.place
    return Unmatched(name=name, file=file, place=place, why=each.refused.why, reason=each.refused.told)


# ---- runs ------------------------------------------------------------------------------------------------------------------


def _counts(opened: Opened, how: Format, matches: Sequence[_Match], key: str) -> ImportedFile:
    """What became of a file's rows, as one data set sees it."""
    here = [one for one in matches if one.opened is opened]
    found = [one.found[key] for one in here if key in one.found]
    n_refused = sum(one.refused is not None for one in here)
    n_by_id = sum(one.by_id for one in found)
    return ImportedFile(
        file=opened.path.name,
        sha256=opened.sha256,
        format=how.NAME,
        n_rows=len(here),
        n_by_id=n_by_id,
        n_by_words=len(found) - n_by_id,
        n_elsewhere=len(here) - len(found) - n_refused,
        n_refused=n_refused,
    )


def _run(
    name: str,
    matches: Sequence[_Match],
    key: str,
    curated: Curated,
    split: str,
    counts: Sequence[ImportedFile],
    rule: str | None,
) -> Run:
    """The rows that answer questions of one set, graded and scored."""
    questions = curated.questions(split)
    graded = {
        question.question_id: run.grade(question, _raw(question, one.told), curated.labels)
        for one in matches
        if key in one.found
        for question in [one.found[key].question]
    }
    record = RunRecord(
        name=name,
        model=", ".join(dict.fromkeys(one.opened.path.name for one in matches)),
        kind=KIND,
        settings={"split": split},
        data=AskedData(hash=files.data_hash(questions, curated.labels), split=split, n_questions=len(questions)),
        partial=run.partial(len(graded), len(questions)),
        imported=tuple(counts),
        provenance={**store.provenance(), "data": str(curated.folder.resolve())},
    )
    predictions = [graded[one.question_id] for one in questions if one.question_id in graded]
    labels = curated.labels_by(rule if curated.labels.sets else None)
    return scored(name, record, questions, predictions, labels, curated.manifest.benchmark)


def _raw(question: Question, told: Told) -> RawReply:
    reply = None if told.failed is not None else told.reply
    error = told.failed
    return RawReply(
        question_id=question.question_id, reply=reply, truncated=told.truncated, n_tokens=told.n_tokens, error=error
    )
