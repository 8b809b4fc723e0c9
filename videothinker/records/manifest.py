"""manifest.json of a curated folder, the file that is written last."""

import msgspec

from videothinker.records.label import Rule

FILE = "manifest.json"
UNRESOLVED = "unresolved.jsonl"


class Benchmark(msgspec.Struct, frozen=True, kw_only=True):
    """How a benchmark is averaged into the one number that it is quoted by."""

    name: str
    macro_over: str | None = None
    """Facet whose values count with the same weight each; None gives every question the same weight (micro)."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The part of manifest.json that readers rely on; further fields are kept in the file for people and reports."""

    rule: Rule | None = None
    """The rule of the folder's own labels, which `category` follows; None if it has no labels of its own."""
    seed: int
    videos_root: str | None
    """Folder of the clips, relative to the curated folder; the questions' clips are relative to it. None if curated without."""
    splits: dict[str, int]
    """Number of questions by split, those left out of the training set included."""
    missing_videos: list[str] = []
    """Clips that were not there at curation, as the questions' `clip.path`."""
    files: dict[str, str] = {}
    """SHA-256 of questions, labels and the data set's own files by their paths; {} in folders of earlier versions."""
    benchmark: Benchmark | None = None
    """How the one number is averaged that the data set is quoted by; None if there is no such number."""


class Unresolved(msgspec.Struct, frozen=True, kw_only=True):
    """One question that cannot be used: a line of unresolved.jsonl."""

    question_id: str
    """CLEVRER's is "SCENE:QID", with "?" for what the file does not give."""
    scene_index: int | None = None
    """For CLEVRER; None if the file does not give one."""
    qid: int | None = None
    file: str
    """Name of the file at fault."""
    reason: str
    """What was found, in which field, and what was expected."""

    def __str__(self) -> str:
        return f"question {self.question_id}: {self.file}: {self.reason}"
