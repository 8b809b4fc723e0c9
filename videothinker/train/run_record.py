"""run.json of a training: what was trained from what, and whether a folder already holds this very run."""

from pathlib import Path
from typing import Any

import msgspec

from videothinker import store
from videothinker.errors import VtError
from videothinker.records import Rule
from videothinker.train.stages import Stage, StageConfig

RUN = "run.json"


class Weights(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint that the run read."""

    ref: str
    """As the user named it: a folder or a hub id."""
    sha256: str
    """`weights_hash` of its tensors, however they are cut into files."""


class TrainedOn(msgspec.Struct, frozen=True, kw_only=True):
    """The questions of the run."""

    folder: str
    """The curated folder."""
    sha256: str
    """Of the split's file."""
    rule: Rule
    """For stage bias the one whose observational questions were taken; for the others the curated folder's own, and unused."""
    n_questions: int
    """How many were drawn."""


class RunResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a run, or a dry run, came to."""

    out: str
    steps: int
    seconds_per_step: float
    """Over the steps of the last call alone, if the run was resumed."""
    tokens_per_step: float
    """Prompt and reply tokens."""
    peak_bytes: int
    """Most memory allocated on the main process's GPU; on a CPU the process's peak resident memory."""
    parameters: int
    trainable: int
    """How many of the parameters were trained."""


class Fed(msgspec.Struct, frozen=True, kw_only=True):
    """What the last prompts really held, as the model got them."""

    n_frames: int
    height: int
    """Pixels of a frame."""
    width: int
    video_tokens: int
    seconds_per_pair: float
    """Seconds of the clip between two pairs of frames."""


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """How the run was spread over processes."""

    processes: int
    mode: str
    """transformers' `ParallelMode`."""


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """run.json, written when a run begins and again when it has finished.

    A field that a later version adds needs a default that says what runs did before it: so old folders can still be read, and
    resumed.
    """

    stage: Stage
    settings: StageConfig
    """All of them, defaults included."""
    model: Weights
    """The checkpoint that training started from."""
    bias_model: Weights | None
    """The frozen reference of CDPO (the start itself where `objective.reference` is start); None without divergence term."""
    data: TrainedOn
    identity: str = ""
    """`identity_of` this record, for people to compare; what decides is computed anew."""
    finished: bool = False
    provenance: dict[str, Any] = {}
    """When, with which command, commit and versions; of the latest call."""
    result: RunResult | msgspec.UnsetType = msgspec.UNSET
    """This and the two fields below are there once the run has finished."""
    fed: Fed | msgspec.UnsetType = msgspec.UNSET
    launch: Launch | msgspec.UnsetType = msgspec.UNSET


def identity_of(record: RunRecord) -> str:
    """A hash of what makes two runs the same.

    That is all but paths, the rule where it chooses no questions, and what is only kept or shown (`saving`, apart from
    `save_every`: where a run is cut decides how it goes on).
    """
    settings = msgspec.to_builtins(record.settings)
    saving = settings.pop("saving")
    data = {"sha256": record.data.sha256, "n_questions": record.data.n_questions}
    if record.stage is Stage.BIAS:
        data["rule"] = record.data.rule
    hashes = [weights and weights.sha256 for weights in (record.model, record.bias_model)]
    return store.sha256_json({"settings": settings, "data": data, "hashes": hashes, "save_every": saving["save_every"]})


def take(out: Path, record: RunRecord) -> RunRecord:
    """Make `out` this run's folder, write its record there, not finished, and return it.

    If the folder holds this very run, finished, nothing is written, and its record is returned.

    Raises:
        VtError: it holds something else.
    """
    if (earlier := _earlier(out)) is not None:
        if identity_of(earlier) != identity_of(record):
            raise VtError(f"{out}: holds a run with other settings, data or checkpoints; choose another --out")
        if earlier.finished:
            return earlier
    elif out.is_dir() and any(out.iterdir()):
        raise VtError(f"{out}: is not empty and holds no {RUN}; choose a new folder for --out")
    record = msgspec.structs.replace(record, identity=identity_of(record), provenance=store.provenance())
    store.write_json(out / RUN, record)
    return record


def holds_a_finished_run(out: Path) -> RunRecord | None:
    """The record of a finished run in `out`, whichever run it is; None if there is none."""
    earlier = _earlier(out)
    return earlier if earlier is not None and earlier.finished else None


def _earlier(out: Path) -> RunRecord | None:
    if not (out / RUN).is_file():
        return None
    try:
        return store.read_json(out / RUN, RunRecord)
    except VtError as error:
        raise VtError(f"{out}: holds no training of `vt train bias`, cdpo or grpo; choose another --out ({error})") from error
