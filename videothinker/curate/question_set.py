"""Curate a data set in memory: read its files, find its clips, split the questions, count. CLEVRER, which also has labels, has
its own way.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from videothinker import answers, store
from videothinker.curate.build import Curation, Layout, relative_root
from videothinker.curate.datasets import NEEDS_JUDGE, Dataset, Published, ReadQuestions, Wishes, dataset_named
from videothinker.curate.datasets.rows import how_many, told_of_missing
from videothinker.curate.datasets.sources import open_source
from videothinker.curate.lengths import held_against_clips, told_of_parts
from videothinker.curate.split import DEV, split_of
from videothinker.curated import NO_LABELS, TRAIN, Member
from videothinker.errors import VtError
from videothinker.footage import Footage
from videothinker.progress import Bars, no_bars
from videothinker.records import Benchmark, Clip, Question, Unresolved

N_TOLD = 6
"""Most differences from published counts, or reasons, that are told one by one; the manifest has the counts of all."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What changes the curated data. It is written to the manifest, and curating into the same folder again needs the same."""

    dataset: str
    """Name of the data set's command."""
    seed: int = 42
    """Seed of the hash that decides which groups are "dev"."""
    dev_share: float | None = None
    """Share of the groups that becomes "dev", 0 < share < 1, while the others become "train"; None puts all into one split."""
    split: str
    """Name of the one split, where `dev_share` is None."""
    variant: str | None = None
    """Another way to ask the data set, one of its `variants`; None for its makers'."""
    columns: tuple[str, ...] | None = None
    """For `records`: which column is what, as "question=prompt"; None for rows in Video-R1's form."""

    def check(self) -> None:
        """Raise a VtError that names what is out of bounds."""
        if self.dev_share is not None and not 0 < self.dev_share < 1:
            raise VtError(f"--dev-share {self.dev_share:g} is not between 0 and 1")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", self.split):
            raise VtError(f"--split '{self.split}' is no file name: use letters, digits, _ and -")
        if self.split.startswith("train_") or self.split in ("manifest", "report"):
            raise VtError(f"--split '{self.split}' is the name of another file of the folder")
        dataset = dataset_named(self.dataset)
        if self.variant is not None and self.variant not in dataset.variants:
            known = ", ".join(dataset.variants) or "none"
            raise VtError(f"--variant {self.variant}: {dataset.name} has no such variant; it has {known}")

    def as_json(self) -> dict[str, Any]:
        """The settings as the manifest holds them. None stands for what earlier versions did not write, either."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain

    def split_names(self) -> tuple[str, ...]:
        """The splits that questions may fall into."""
        return (self.split,) if self.dev_share is None else (TRAIN, DEV)


class Counted(NamedTuple):
    """A curated question set, and what to tell about it."""

    curation: Curation
    warnings: list[str]
    """What may make results differ from published ones, or questions fail."""
    notes: list[str]
    """What is unusual in the files and was dealt with."""


def layout(settings: Settings) -> Layout:
    """What the folder of a curation with these settings will hold."""
    return Layout(settings.split_names())


def curate(
    dataset: Dataset,
    source: Path,
    videos: Path | None,
    out: Path,
    settings: Settings,
    *,
    strict: bool = False,
    bars: Bars = no_bars,
) -> Counted:
    """Read and split a data set; nothing is written.

    source: what --from names. videos: folder of the clips; None looks for the release's own beside the source.
    out: the folder that will be written, which the manifest's `videos_root` is relative to.
    strict: refuse missing clips, questions that cannot be used and numbers other than the published ones, instead of reporting
    and going on. Questions that need a judge are as their makers published them, and no reason to refuse.
    bars: shows the reading of the clips' lengths.

    Raises:
        VtError: the source cannot be used as a whole, or holds no usable question.
    """
    settings.check()
    if videos is not None and not videos.is_dir():
        raise VtError(f"--videos {videos}: is not a folder")
    opened = open_source(source, dataset)
    read = dataset.read(opened.tables, Wishes(settings.variant, settings.columns or ()))
    if not read.questions:
        why = f"; the first is {read.unresolved[0]}" if read.unresolved else ""
        raise VtError(f"--from {source}: has no question that can be used{why}")

    root = _clips_folder(dataset, videos, opened.folder, read.questions)
    there = None if root is None else _Presence(root)
    questions, moved = (read.questions, []) if there is None else _located(read, there)
    measured = held_against_clips(questions, root, bars)
    questions, unresolved = measured.questions, [*read.unresolved, *measured.unresolved]
    missing = [] if there is None else sorted({one.path for one in questions if one.clip and not there.has(one.clip)})
    if not questions:
        raise VtError(f"--from {source}: has no question that can be used; the first is {unresolved[0]}")
    differs = _difference(dataset, read, source)
    if strict:
        _refuse(unresolved, missing, differs, root)

    members = [Member(question, _split_of(question, settings), True) for question in questions]
    splits = {name: n for name in settings.split_names() if (n := sum(one.split == name for one in members))}
    n_read = len(questions) + len(unresolved)
    warnings = [] if differs is None else [differs]
    n_bad = sum(one.reason != NEEDS_JUDGE for one in unresolved)
    if n_bad:
        first = next(one for one in unresolved if one.reason != NEEDS_JUDGE)
        warnings.append(f"{n_bad} of {n_read} questions cannot be used; the first is {first}")
    if measured.warning is not None:
        warnings.append(measured.warning)
    if root is not None and (told := told_of_parts(questions, root, bars)) is not None:
        warnings.append(told)
    if missing:
        warnings.append(told_of_missing(missing))
    notes = [*read.notes, *_oddities(questions), *moved]
    manifest = {
        "rule": None,
        "seed": settings.seed,
        "videos_root": relative_root(root, out),
        "splits": splits,
        "missing_videos": missing,
        "benchmark": _benchmark(dataset, settings, read, differs),
        "questions": {"n_read": n_read, "n_labelled": len(questions), "n_unresolved": len(unresolved)},
        "unresolved": by_reason(unresolved),
        "facets": _facets(questions),
        "chance": sum(map(chance, questions)) / len(questions),
        "shown": dict(Counter(one.kind.value for one in questions)),
        "warnings": warnings,
        "notes": notes,
        "settings": settings.as_json(),
        "inputs": opened.inputs,
        "provenance": store.provenance() | {"source": str(source)},
    }
    return Counted(
        Curation(members, NO_LABELS, unresolved, manifest, None if root is None else root.resolve()), warnings, notes
    )


def _refuse(unresolved: Sequence[Unresolved], missing: Sequence[str], differs: str | None, root: Path | None) -> None:
    """Raise a VtError for what --strict does not allow."""
    bad = [one for one in unresolved if one.reason != NEEDS_JUDGE]
    if bad:
        raise VtError(f"{len(bad)} questions cannot be used (--strict); the first is {bad[0]}")
    if differs is not None:
        raise VtError(f"{differs} (--strict)")
    if missing:
        raise VtError(f"--videos {root}: lacks {len(missing)} clips (--strict), the first is {missing[0]}")


def _split_of(question: Question, settings: Settings) -> str:
    if settings.dev_share is None:
        return settings.split
    return split_of(f"group {question.group}", settings.seed, settings.dev_share)


def _benchmark(dataset: Dataset, settings: Settings, read: ReadQuestions, differs: str | None) -> Benchmark | None:
    """How the quoted number is averaged. Its name says if these are not the questions that it is quoted for."""
    if dataset.benchmark is None:
        return None
    name = dataset.benchmark.name
    if settings.variant is not None:
        name = f"{name}, {settings.variant}"
    if differs is not None:
        name = f"{name}, not all questions as published"
    return msgspec.structs.replace(dataset.benchmark, name=name)


# ---- clips -----------------------------------------------------------------------------------------------------------------


def _clips_folder(dataset: Dataset, videos: Path | None, beside: Path | None, questions: Iterable[Question]) -> Path | None:
    """The folder that the clips are relative to: --videos or the release's own folder in it, whichever has more of them.

    Without --videos it is the release's folder beside what was read, if it has any of them, and else None.
    """
    around = beside if videos is None else videos
    if around is None:
        return None
    inside = [around / name for name in dataset.clips if (around / name).is_dir()]
    folders = inside if videos is None else [videos, *inside]
    paths = {question.path for question in questions if question.clip}
    found = {folder: sum((folder / path).exists() for path in paths) for folder in folders}
    best = max(found, key=lambda folder: found[folder], default=None)
    return best if videos is not None or (best is not None and found[best]) else None


class _Presence:
    """Which clips are in a folder; each is looked for once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[tuple[str, bool], bool] = {}

    def has(self, clip: Clip) -> bool:
        """Whether the file is there, or the folder where a rate makes it a folder of frames."""
        footage = Footage.below(self._root, clip)
        key = clip.path, footage.is_folder
        if key not in self._known:
            self._known[key] = footage.is_there()
        return self._known[key]


def _located(read: ReadQuestions, there: _Presence) -> tuple[list[Question], list[str]]:
    """The questions with their clips where they are, and what to tell about those that lie elsewhere than the release says."""

    moved: Counter[str] = Counter()
    n_cut = 0
    located = []
    for one in read.questions:
        if one.clip is None:
            located.append(one)
            continue
        places = (one.clip, *read.elsewhere.get(one.question_id, ()))
        clip = next((place for place in places if there.has(place)), one.clip)
        if clip is not one.clip:
            moved[clip.path.rpartition("/")[0]] += 1
            n_cut += one.clip.start is not None and clip.start is None
            one = msgspec.structs.replace(one, clip=clip)
        located.append(one)
    notes = []
    if moved:
        where = ", ".join(f"{folder} {n:,}" for folder, n in moved.most_common(N_TOLD))
        cut = f"; {n_cut:,} of them are cut already and are shown whole" if n_cut else ""
        notes.append(
            f"{how_many(moved.total(), 'question')} with the clip elsewhere than in the release's main part: {where}{cut}"
        )
    return located, notes


# ---- counts ----------------------------------------------------------------------------------------------------------------


def chance(question: Question) -> float:
    """The probability that a random answer is right."""
    return answers.form_of(question).chance(len(question.options))


def by_reason(unresolved: Iterable[Unresolved]) -> dict[str, int]:
    """How many questions cannot be used for which kind of reason, the most frequent first.

    A kind has "..." in place of what is only of one row: names, numbers and quoted text, but for those of an example.
    """
    parts = (one.reason.partition("such as") for one in unresolved)
    kinds = Counter(_OWN.sub("...", reason) + such_as + example for reason, such_as, example in parts)
    return dict(sorted(kinds.items(), key=lambda item: (-item[1], item[0])))


_OWN = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|\{.*\}|\[.*\]|\d+(?:\.\d+)?")


def _facets(questions: Iterable[Question]) -> dict[str, dict[str, int]]:
    """Number of questions by facet and value, in the order in which values come."""
    found: dict[str, Counter[str]] = {}
    for question in questions:
        for facet, value in question.facets.items():
            found.setdefault(facet, Counter())[value] += 1
    return {facet: dict(counts) for facet, counts in found.items()}


def _difference(dataset: Dataset, read: ReadQuestions, source: Path) -> str | None:
    """What the files have fewer or more of than their makers state, in one sentence; None if they agree."""
    n_read = len(read.questions) + len(read.unresolved)
    total = read.n_published
    cells = next((cells for each in read.published if (cells := _cells(each, read.questions))), [])
    if (total is None or total == n_read) and not cells:
        return None
    more = f" and {len(cells) - N_TOLD} more" if len(cells) > N_TOLD else ""
    where = f" ({', '.join(cells[:N_TOLD])}{more})" if cells else ""
    return (
        f"{dataset.name} has {total:,} questions as published, {source} has {n_read:,}{where};"
        " a result on these is not comparable with published ones"
    )


def _cells(published: Published, questions: Sequence[Question]) -> list[str]:
    """Every combination of facets with another number of questions than stated: "task State Change 12 of 200"."""
    asked = [tuple(one.facets.get(facet, "") for facet in published.facets) for one in questions]
    if not asked or not all(any(values[index] for values in asked) for index in range(len(published.facets))):
        return []  # this kind of file does not say it
    found = Counter(asked)
    names = sorted(
        {**published.counts, **found}, key=lambda values: found[values] > 0
    )  # what is missing altogether comes first
    return [
        f"{' '.join(values).strip() or f'no {published.facets[0]}'} {found[values]:,} of {published.counts.get(values, 0):,}"
        for values in names
        if found[values] != published.counts.get(values, 0)
    ]


def _oddities(questions: Sequence[Question]) -> list[str]:
    """What is unusual about questions that are nevertheless asked as they are."""
    notes = []
    if n := sum(len(one.options) == 1 for one in questions):
        notes.append(f"{how_many(n, 'question')} with one option, so that whoever names it is right (chance 1)")
    doubled = [one for one in questions if len(set(one.options)) < len(one.options)]
    if doubled:
        n = sum(map(_is_correct_twice, doubled))
        unfair = f"; in {n:,} of them it is the correct one, whose other letter counts as wrong" if n else ""
        notes.append(
            f"{how_many(len(doubled), 'question')} with an option twice, the first is {doubled[0].question_id}{unfair}"
        )
    content = Counter((one.clip, one.text, frozenset(one.options)) for one in questions)
    if n := sum(times - 1 for times in content.values()):
        notes.append(
            f"{how_many(n, 'question')} with the content of another one, the order of options aside; all are asked and counted"
        )
    cuts: dict[tuple[str, str], set[Clip | None]] = {}
    for one in questions:
        cuts.setdefault((one.path, one.text), set()).add(one.clip)
    if n := sum(len(clips) - 1 for clips in cuts.values()):
        notes.append(
            f"{how_many(n, 'question')} with the words of another one, about another part of its clip: they need start and end"
        )
    return notes


def _is_correct_twice(question: Question) -> bool:
    texts: Mapping[str, str] = dict(zip(answers.LETTERS, question.options, strict=False))
    return any(question.options.count(texts[letter]) > 1 for letter in question.gold)
