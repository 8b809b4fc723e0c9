"""run.json of a diagnosis: what was asked of whom, how, and what was really fed."""

from typing import Any

import msgspec

FILE = "run.json"


class AskedData(msgspec.Struct, frozen=True, kw_only=True):
    """Which questions were asked."""

    hash: str
    """SHA-256 of what a reply and its grade depend on (`diagnose.files.data_hash`)."""
    split: str
    n_questions: int | None = None
    """Number of questions in the whole split."""


class Partial(msgspec.Struct, frozen=True, kw_only=True):
    """A run that did not ask all of its split."""

    asked: int
    of: int


class ImportedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A result file of another evaluator, and what became of its rows.

    n_rows = n_by_id + n_by_words + n_elsewhere + n_refused.
    """

    file: str
    """Its name, without folders."""
    sha256: str
    format: str
    """Whose form it has, such as "lmms-eval"."""
    n_rows: int
    n_by_id: int
    """Rows that answer a question of this data set, known by its id."""
    n_by_words: int
    """Rows that answer one known by its words and options, and its clip where the row tells it."""
    n_elsewhere: int
    """Rows that answer questions of other data sets alone."""
    n_refused: int
    """Rows that answer no question for certain, or one that another row answers, too."""


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """What servers say of the model that they serve under a name, in their lists of models."""

    by: str | None = None
    """Who owns it; servers put their own name there ("vllm")."""
    root: str | None = None
    """Where its weights come from, a path or a hub id; None for servers that do not tell."""


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint, solver or server that was asked, an import of replies, or a reference row of a report."""

    name: str
    """Unique in its run folder, and the name of its folder there."""
    model: str
    """REF that was asked; for an import its files, for a reference what it stands for."""
    kind: str
    """checkpoint | solver | endpoint | import | reference"""
    weights: str | None = None
    """`fingerprint` of a local checkpoint: its weights, tokenizer, template and base; None if there is none at hand."""
    endpoint: str | None = None
    """URLs of all servers that were asked so far, sorted, with ", " between, without user and query; None if there was none.
    The same run goes on at others."""
    served: Served | None = None
    """What those servers say of the model; None where there was none, or none that says anything."""
    settings: dict[str, Any] = {}
    """`diagnose.settings.DiagnosisSettings` of the run; for an import the split alone."""
    data: AskedData | None = None
    """None for a reference."""
    partial: Partial | None = None
    """None if all of the split was asked."""
    fed: dict[str, Any] | None = None
    """What the answerer says it was fed: frames, pixels, tokens, attention, seconds; None before it has answered. Counts and
    seconds are sums over all sessions and processes of the run, everything else is of the latest one."""
    sessions: tuple[str, ...] = ()
    """The sessions that `fed` covers: one per process of each call that asked something."""
    imported: tuple[ImportedFile, ...] = ()
    """The files that an import was read from; empty for what was asked here."""
    provenance: dict[str, Any] = {}
    """`store.provenance()` and `data`, the curated folder."""
