"""manifest.json of a curated folder, the file that is written last."""

import msgspec

from videothinker.records.label import Rule

FILE = "manifest.json"
UNRESOLVED = "unresolved.jsonl"


class Benchmark(msgspec.Struct, frozen=True, kw_only=True):
    """How a benchmark is averaged into the one number that it is quoted by."""

    name: str
    macro_over: str | None = None
    """Facet over whose values accuracies are averaged, each with the same weight; None: over questions (micro)."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The part of manifest.json that readers rely on; further fields are kept in the file for people and reports."""

    rule: Rule | None = None
    """The rule of the folder's own labels that `category` follows; None: it has no labels of its own."""
    seed: int
    videos_root: str | None
    """Folder that the questions' clips are relative to, relative to the curated folder; None: curated without clips."""
    splits: dict[str, int]
    """Number of questions by split, those left out of the training set included."""
    missing_videos: list[str] = []
    """Clips that were not there at curation, as the questions' `clip.path`."""
    benchmark: Benchmark | None = None
    """Where the data set is a benchmark that is quoted by one number."""


class Unresolved(msgspec.Struct, frozen=True, kw_only=True):
    """One question that cannot be used: a line of unresolved.jsonl."""

    question_id: str
    """CLEVRER's is "SCENE:QID"; "?" stands for what the file does not give."""
    scene_index: int | None = None
    """CLEVRER: None when the file does not give one."""
    qid: int | None = None
    file: str
    """Name of the file at fault."""
    reason: str
    """What was found, in which field, and what was expected."""

    def __str__(self) -> str:
        return f"question {self.question_id}: {self.file}: {self.reason}"
