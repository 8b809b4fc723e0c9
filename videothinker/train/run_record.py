"""Whether a folder already holds a training, and whether it is this very one."""

from pathlib import Path
from typing import Any

import msgspec

from videothinker import store
from videothinker.records.training import RUN, Pool, TrainRecord, Weights
from videothinker.train.stages import Stage, StageConfig


def identity_of(record: TrainRecord) -> dict[str, Any]:
    """What makes two runs the same.

    That is all but paths, the rule where it chooses no questions, and what is only kept or shown (`saving`, apart from
    `save_every`: where a run is cut decides how it goes on). Settings that a later version added count with their defaults.
    """
    settings: dict[str, Any] = msgspec.to_builtins(msgspec.convert(record.settings, StageConfig))
    settings["saving"] = {"save_every": settings["saving"]["save_every"]}
    data: dict[str, Any] = {"sha256": record.data.sha256, "n_questions": record.data.n_questions}
    if record.stage == Stage.BIAS:
        data["rule"] = record.data.rule
    if isinstance(record.data.pool, Pool):  # the ids follow from files and condition, and from the table of the questions
        data["pool"] = {"labels": list(record.data.pool.labels.values()), "sha256": record.data.pool.sha256}
    weights = {"model": record.model, "bias_model": record.bias_model}
    hashes = {name: one and _hashes(one) for name, one in weights.items()}
    if settings["data"]["template"] is not None:
        del settings["data"]["template"]["text"]  # its hash stands for it, in a message too
    for kept in ("vision_cache_gib", "vision_spill_gib"):
        del settings["model"][kept]  # where what is computed once is held
    settings["model"]["text_positions"] = record.text_positions  # what it came to, whether it was set or the start's own
    return {"stage": record.stage, "settings": settings, "data": data, **hashes}


def _hashes(one: Weights) -> dict[str, str]:
    return {"sha256": one.sha256, **({} if one.files is None else {"files": one.files})}


def _filled(held: dict[str, Any], record: TrainRecord) -> TrainRecord:
    """What the folder's run.json says; hashes that an earlier version did not write count as those of `record`."""
    said = msgspec.convert(held, TrainRecord)
    filled = {}
    for name in ("model", "bias_model"):
        old, new = getattr(said, name), getattr(record, name)
        if old is not None and new is not None and old.files is None:
            filled[name] = msgspec.structs.replace(old, files=new.files)
    return msgspec.structs.replace(said, **filled)


def take(out: Path, record: TrainRecord) -> TrainRecord:
    """Make `out` this run's folder, write its record there, not finished, and return it.

    If the folder holds this very run, finished, nothing is written, and its record is returned.

    Raises:
        VtError: it holds something else.
    """
    identity = identity_of(record)
    held = store.claim(
        out,
        RUN,
        identity,
        what="a training",
        advice="choose another --out",
        in_todays_form=lambda said: identity_of(_filled(said, record)),
    )
    earlier = None if held is None else msgspec.convert(held, TrainRecord)
    if earlier is not None and earlier.finished:
        return earlier
    record = msgspec.structs.replace(record, identity=store.sha256_json(identity), provenance=store.provenance())
    store.write_json(out / RUN, record)
    return record


def holds_a_finished_run(out: Path) -> TrainRecord | None:
    """The record of a finished run in `out`, whichever run it is; None if there is none."""
    earlier = store.read_json(out / RUN, TrainRecord) if (out / RUN).is_file() else None
    return earlier if earlier is not None and earlier.finished else None
