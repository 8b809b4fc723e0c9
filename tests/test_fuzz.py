"""Files from outside, damaged: a reader refuses them in one line that names the file, or reads what is there; nothing else.

Every reader gets some dozens of damaged files from fixed seeds; the environment variable VT_FUZZ sets another number. What only
we write carries hashes, and there damage has to be noticed: the reader may return nothing but what the sound file holds.
"""

import io
import json
import lzma
import os
import shutil
import signal
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pytest
import torch
from benchmarks_factory import (
    read_set,
    write_longvideobench_parquet,
    write_mmvu,
    write_mvbench,
    write_tempcompass,
    write_video_holmes,
)
from curated_factory import a_prediction, random_questions, write_curated
from mutants import damage
from pyarrow import parquet
from records_factory import write_records
from release_factory import entry, question, write_release, zip_of
from safetensors.numpy import save_file as save_numbers
from safetensors.torch import load_file, save_file
from vt_command import curate_release, one_error, vt

from videothinker import curated, outside, store, tables
from videothinker.curate.datasets.clevrer import annotations, questions
from videothinker.diagnose import files, runs
from videothinker.diagnose.imports import import_results
from videothinker.errors import VtError
from videothinker.models import delta, load, stored, tiny
from videothinker.models.checkpoint import check_fit, find_checkpoint
from videothinker.pretrain.settings import load_pretraining
from videothinker.records import Scene
from videothinker.records.study_cells import Record, State
from videothinker.steps import read_steps
from videothinker.study import pack as packs
from videothinker.study import parts
from videothinker.study.cells import read_records, record_file
from videothinker.study.config import load_study
from videothinker.study.plan import Cell, Kind
from videothinker.train.stage_files import load_stage
from videothinker.train.stages import Stage
from videothinker.world.make import WorldSettings, make_world

N_CASES = int(os.environ.get("VT_FUZZ", "60"))
SECONDS = 20
"""Far above what any case takes, also on a busy machine: it tells a hang from work."""
CONFIGS = Path(__file__).parents[1] / "configs"


class Reader(NamedTuple):
    """A way of reading a file from outside."""

    make: Callable[[Path], Path]
    """Writes sound files into a folder, and returns the one that will be damaged."""
    read: Callable[[Path], Any]
    """Reads that file, which may lie deep in the folder, as a command does."""
    is_exact: bool = False
    """Whether the file carries hashes, so that no damage may go unnoticed."""
    part: int = 1
    """One in so many of the cases is tried, for what takes long to read."""


# ---- what data sets and people write ------------------------------------------------------------------------------------


def _release(folder: Path) -> Path:
    return write_release(folder, [entry(index, question(0), question(1)) for index in range(2)])


def _annotation(folder: Path) -> Path:
    return next(_release(folder).rglob("annotation_00000.json"))


def _zip(folder: Path) -> Path:
    return zip_of(_release(folder) / "annotation_train", folder / "annotations.zip")


def _scenes(path: Path) -> Any:
    """The scenes that can be used. Of the other nothing is read but why."""
    found = annotations.read_scenes(annotations.find_annotations(path), [0, 1]).scenes
    assert sorted(found) == [0, 1]
    return {index: one for index, one in found.items() if isinstance(one, Scene)}


def _questions(path: Path) -> Any:
    found = questions.read_questions(path)
    assert found.questions or found.bad
    return found


def _records(path: Path) -> Any:
    found = read_set("records", path)
    for one in found.questions:
        assert outside.stays_within(one.clip.path)
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError):
        return found
    assert len(found.questions) + len(found.unresolved) == (len(rows) if isinstance(rows, list) else 1)
    return found


def _set(name: str, part: str | None = None, columns: tuple[str, ...] = ()) -> Callable[[Path], Any]:
    """Reads a data set from one file, or from the folder that its `part` lies in."""

    def read(path: Path) -> Any:
        folder = path if part is None else Path(str(path).removesuffix(f"/{part}"))
        found = read_set(name, folder, columns=columns)
        assert all(outside.stays_within(one.clip.path) for one in found.questions)
        return found

    return read


def _csv(folder: Path) -> Path:
    lines = [f'{n},"What falls, and when?","[""cup"", ""ball""]",B,{n % 2},{n / 4},clips/{n}.mp4' for n in range(6)]
    (folder / "quiz.csv").write_text("\n".join(["id,asked,choices,gold,topic,from,file", *lines]))
    return folder / "quiz.csv"


_COLUMNS = ("id=id", "question=asked", "options=choices", "answer=gold", "facet:topic=topic", "start=from", "video=file")


def _config(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        shutil.copytree(CONFIGS, folder / "configs")
        return folder / "configs" / name

    return make


# ---- what we write -------------------------------------------------------------------------------------------------------

_ASKED = random_questions(range(100, 103), seed=2)


def _curated(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        write_curated(folder, {"dev": _ASKED})
        told = json.loads((folder / "manifest.json").read_text())
        names = ("questions.parquet", "labels/log.parquet", "labels.parquet", "scenes.jsonl")
        told["files"] = {name: store.sha256_file(folder / name) for name in names if (folder / name).is_file()}
        assert len(told["files"]) == 4
        store.write_json(folder / "manifest.json", told)
        return folder / name

    return make


def _open(path: Path) -> Any:
    folder = path.parent.parent if path.parent.name == "labels" else path.parent
    found = curated.open_curated(folder)
    sets = [(one.name, dict(one.by_question)) for one in found.labels.sets]
    return found.members, sets, found.scenes, found.removed_objects, found.manifest.splits


def _bare_table(folder: Path) -> Path:
    """As an earlier version wrote it, without a hash: page checksums alone tell of damage."""
    folder.mkdir(exist_ok=True)
    write_curated(folder, {"dev": _ASKED})
    return folder / "questions.parquet"


def _run(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        data = write_curated(folder / "data", {"dev": _ASKED})
        asked = {"hash": files.data_hash(data.questions("dev"), data.labels), "split": "dev", "n_questions": len(_ASKED)}
        record = {"name": "x", "model": "m", "kind": "checkpoint", "data": asked, "provenance": {"data": str(folder / "data")}}
        store.write_json(folder / "runs" / "x" / "run.json", record)
        store.write_jsonl(folder / "runs" / "x" / "predictions.jsonl", [a_prediction(one, "A") for one in _ASKED])
        rows = [{"question_id": one.question.question_id, "output": "<answer>A</answer>"} for one in _ASKED]
        store.write_json(folder / "results.json", {"results": rows})
        return folder / name

    return make


def _load_run(path: Path) -> Any:
    folder = path.parents[2]
    return [(one.name, one.predictions) for one in runs.load_runs([path.parent], curated.open_curated(folder / "data"))]


def _import(path: Path) -> Any:
    found = import_results("x", [path], {"data": curated.open_curated(path.parent / "data")})
    return found.runs["data"].predictions


def _steps(folder: Path) -> Path:
    line = {"step": 1, "loss": 0.5, "reward": 1.0, "reward/accuracy": 0.5, "kl": 0.1, "alarms": []}
    store.write_jsonl(folder / "metrics.jsonl", [line | {"step": step} for step in range(1, 5)])
    return folder / "metrics.jsonl"


def _checkpoint(folder: Path, seed: int) -> Path:
    folder.mkdir(parents=True)
    drawn = torch.Generator().manual_seed(seed)
    save_file(
        {"a": torch.randn(30, 20, generator=drawn).bfloat16(), "b": torch.zeros(3).bfloat16()}, folder / "model.safetensors"
    )
    store.write_json(folder / "config.json", {"model_type": "qwen2_5_vl"})
    return folder


def _delta(folder: Path) -> Path:
    delta.pack(_checkpoint(folder / "base", 0), _checkpoint(folder / "other", 1), folder / "x.delta")
    return folder / "x.delta"


def _exact_delta(folder: Path) -> Path:
    base, other = _checkpoint(folder / "base", 0), _checkpoint(folder / "other", 1)
    weights = {name: tensor.float() * 1.001 for name, tensor in load_file(other / "model.safetensors").items()}
    save_file(weights, other / "model.safetensors")
    delta.pack(base, other, folder / "x.delta", exact=True)
    return folder / "x.delta"


def _unpack_delta(path: Path) -> Any:
    return delta.unpack(path.parent / "base", path, path.parent / "made")


def _header(folder: Path) -> Path:
    return _checkpoint(folder / "base", 0) / "model.safetensors"


def _index(folder: Path) -> Path:
    made = _checkpoint(folder / "base", 0)
    (made / "model.safetensors").rename(made / "part-1.safetensors")
    placed = {"a": "part-1.safetensors", "b": "part-1.safetensors"}
    store.write_json(made / "model.safetensors.index.json", {"metadata": {}, "weight_map": placed})
    return made / "model.safetensors.index.json"


def _shapes(path: Path) -> Any:
    found = stored.weight_files("base", path.parent)
    assert all(file.parent == path.parent for file in found)
    return stored.shapes("base", found)


def _pack(folder: Path) -> Path:
    (folder / "away").mkdir(parents=True)
    blobs = [lzma.compress(parts.tar([parts.Item(f"logs/{i}.stdout", bytes([i]) * 700)])) for i in range(3)]
    whole = [parts.Item(f"{i:04}.tar.xz", blob) for i, blob in enumerate(blobs[:2])]
    pieces = [parts.Item("0002.tar.xz.1-of-2", blobs[2][:100]), parts.Item("0002.tar.xz.2-of-2", blobs[2][100:])]
    (folder / "away" / "study-1.tar").write_bytes(parts.tar([*whole, *pieces]))
    return folder / "away" / "study-1.tar"


def _unpack(path: Path) -> Any:
    into = path.parents[1] / "in" / "study"
    try:
        packs.unpack(into, path.parent)
    except VtError:
        assert not into.exists()  # all or nothing
        raise
    assert {file.name for file in path.parents[1].iterdir()} == {"away", "in"}
    return {str(file.relative_to(into)): file.read_bytes() for file in into.rglob("*") if file.is_file()}


_SCENES = WorldSettings(n_scenes=1, seed=1, videos=False)


def _world(folder: Path) -> Path:
    make_world(folder, _SCENES)
    return folder / "world.json"


def _record(folder: Path) -> Path:
    record = Record(identity="x", state=State.FAILED, command="vt train", returncode=1, tail=("a", "b"))
    store.write_json(record_file(folder, "curated"), record)
    return record_file(folder, "curated")


def _read_record(path: Path) -> Any:
    return read_records(
        [Cell(name="curated", kind=Kind.PREPARE, arguments=("curate",), gpu=False, group="curated")], path.parents[1]
    )


def _tiny(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        tiny.build(folder / "start", seed=0)
        return folder / "start" / name

    return make


def _adapter(folder: Path) -> Path:
    tiny.build(folder / "start", seed=0)
    names = [f"base_model.model.model.language_model.layers.0.self_attn.q_proj.lora_{part}.weight" for part in "AB"]
    width = json.loads((folder / "start" / "config.json").read_text())["text_config"]["hidden_size"]
    (folder / "lora").mkdir()
    shapes = ((4, width), (width, 4))
    save_file(
        {name: torch.ones(shape) for name, shape in zip(names, shapes, strict=True)},
        folder / "lora" / "adapter_model.safetensors",
    )
    told = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": r".*language_model.layers.0.self_attn.q_proj"}
    store.write_json(folder / "lora" / "adapter_config.json", told | {"base_model_name_or_path": str(folder / "start")})
    return folder / "lora" / "adapter_config.json"


def _checked(path: Path) -> Any:
    """What `vt diagnose` and `vt train` look at before they load any weights."""
    load.check(str(path.parent))
    check_fit(find_checkpoint(str(path.parent)))


READERS = {
    "world": Reader(_world, lambda path: make_world(path.parent, _SCENES)),
    "record of a cell": Reader(_record, _read_record),
    "adapter": Reader(_adapter, _checked, part=6),
    **{
        name: Reader(_tiny(name), _checked, part=6)
        for name in ("config.json", "processor_config.json", "tokenizer_config.json")
    },
    "annotation": Reader(_annotation, lambda path: _scenes(path.parents[1])),
    "annotations in a zip": Reader(_zip, _scenes),
    "CLEVRER's questions": Reader(lambda folder: _release(folder) / "train.json", _questions),
    "records": Reader(lambda folder: write_records(folder / "set.json"), _records),
    "records by line": Reader(lambda folder: write_records(folder / "set.jsonl"), _set("records")),
    "MMVU": Reader(lambda folder: write_mmvu(folder).source / "validation.json", _set("mmvu"), part=3),
    "Video-Holmes": Reader(
        lambda folder: write_video_holmes(folder).source / "test_Video-Holmes.json", _set("video-holmes"), part=3
    ),
    "MVBench": Reader(
        lambda folder: write_mvbench(folder).source / "json/object_existence.json",
        _set("mvbench", "json/object_existence.json"),
        part=6,
    ),
    "TempCompass": Reader(
        lambda folder: write_tempcompass(folder).source / "questions/multi-choice.json",
        _set("tempcompass", "questions/multi-choice.json"),
        part=3,
    ),
    "TempCompass's types": Reader(
        lambda folder: write_tempcompass(folder).source / "meta_info.json", _set("tempcompass", "meta_info.json"), part=3
    ),
    "LongVideoBench's parquet": Reader(
        lambda folder: write_longvideobench_parquet(folder / "validation.parquet"), _set("longvideobench"), part=3
    ),
    "table": Reader(_csv, _set("records", columns=_COLUMNS), part=3),
    "study": Reader(_config("study-cpu.toml"), load_study),
    "training": Reader(_config("cdpo-tiny.toml"), lambda path: load_stage(Stage.CDPO, path)),
    "pretraining": Reader(_config("tiny-sft.toml"), load_pretraining),
    "manifest": Reader(_curated("manifest.json"), _open),
    "questions": Reader(_curated("questions.parquet"), _open, is_exact=True),
    "labels": Reader(_curated("labels/log.parquet"), _open, is_exact=True),
    "CLEVRER's table": Reader(_curated("labels.parquet"), _open, is_exact=True),
    "scenes": Reader(_curated("scenes.jsonl"), _open, is_exact=True),
    "questions without a hash": Reader(_bare_table, _open),
    "run": Reader(_run("runs/x/run.json"), _load_run),
    "predictions": Reader(_run("runs/x/predictions.jsonl"), _load_run),
    "results of others": Reader(_run("results.json"), _import),
    "metrics": Reader(_steps, read_steps),
    "delta": Reader(_delta, _unpack_delta, is_exact=True),
    "exact delta": Reader(_exact_delta, _unpack_delta, is_exact=True),
    "weights": Reader(_header, _shapes),
    "index of weights": Reader(_index, _shapes),
    "pack": Reader(_pack, _unpack, is_exact=True),
}


@contextmanager
def _no_hang() -> Iterator[None]:
    def give_up(*_: object) -> None:
        raise AssertionError(f"took more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _show(path: Path, told: str) -> bool:
    """Whether a message names the file, its folder, or the option that gave it."""
    return any(str(name) in told for name in (path.name, path.parent, path.parents[1], "base:"))


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_refused_in_one_line_or_read(name: str, tmp_path: Path) -> None:
    reader = READERS[name]
    sound = tmp_path / "sound"
    sound.mkdir()
    where = reader.make(sound).relative_to(sound)
    shutil.copytree(sound, tmp_path / "copy")
    expected = reader.read(tmp_path / "copy" / where)
    refused = 0
    n_cases = -(-N_CASES // reader.part)
    for seed in range(n_cases):
        folder = tmp_path / "damaged"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(sound, folder)
        done = damage(folder / where, seed)
        try:
            with _no_hang():
                found = reader.read(folder / where)
        except VtError as error:
            refused += 1
            told = str(error)
            assert _show(folder / where, told), (seed, done, told)
            assert len(told) < 5000, (seed, done, told)
        except BaseException as error:
            raise AssertionError(f"seed {seed}, {done}: {type(error).__name__}") from error
        else:
            assert not reader.is_exact or found == expected, (seed, done)
    assert refused > n_cases // 10 or name == "annotation"


@pytest.mark.parametrize("seed", range(max(5, N_CASES // 10)))
def test_the_command_ends_with_one_line_and_exit_code_2(seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whole commands, on whole files of which one is damaged: `vt curate`, `vt curate check` and a study's dry run."""
    release = _release(tmp_path / "release")
    study = _config("study-cpu.toml")(tmp_path)
    records = write_records(tmp_path / "set.json")
    table = _curated("questions.parquet")(tmp_path / "curated")
    damage(
        {0: release / "train.json", 1: next(release.rglob("annotation_00000.json")), 2: study, 3: records, 4: table}[seed % 5],
        seed,
    )
    with _no_hang():
        code = (
            curate_release(release, tmp_path / "out") if seed % 5 < 2
            else vt("study", study, "--out", tmp_path / "out", "--dry-run") if seed % 5 == 2
            else vt("curate", "records", "--from", records, "--out", tmp_path / "out") if seed % 5 == 3
            else vt("curate", "check", table.parent)
        )  # fmt: skip
    if code:
        assert code == 2
        assert one_error(capsys).isprintable()


# ---- names ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".x", "a/b", "../x", "/x", "a\\b", "a\0", "a\x1b[2J", "a\u2028", "\ud800", "x" * 256]
)
def test_what_is_no_name_of_a_file(name: str) -> None:
    assert not outside.is_name(name)


def test_names_and_paths_that_are_used_today() -> None:
    assert all(map(outside.is_name, ("qwen2.5-vl-7b", "my run (2)", "été", "seed=1", "x" * 255)))
    assert all(map(outside.stays_within, ("a.mp4", "./clips/a.mp4", "video_00000-01000/video_00000.mp4", "a..b/c.mp4")))
    assert not any(map(outside.stays_within, ("", "..", "a/../../b", "/a.mp4", "a\n.mp4")))


def test_a_clip_outside_its_folder_costs_its_own_question(tmp_path: Path) -> None:
    rows = [json.loads((write_records(tmp_path / "set.json")).read_text())[0]]
    rows += [
        rows[0] | {"problem_id": n, "path": path} for n, path in enumerate(("../../etc/passwd", "/etc/passwd", "a\0.mp4"), 2)
    ]
    found = read_set("records", write_records(tmp_path / "set.json", rows))
    assert [(one.question_id, one.clip.path) for one in found.questions] == [("1", "clips/a.mp4"), ("3", "etc/passwd")]
    assert [one.question_id for one in found.unresolved] == ["2", "4"]
    assert found.unresolved[0].reason == "its clip is '../../etc/passwd', expected a path below the clips' folder"


@pytest.mark.parametrize("clip", ["/etc/passwd", "../../x.mp4"])
def test_a_curated_clip_outside_its_folder_is_refused(clip: str, tmp_path: Path) -> None:
    path = _bare_table(tmp_path / "data")
    rows = parquet.read_table(path).to_pylist()
    rows[1]["video"] = clip
    store.write_bytes(path, tables.to_bytes(rows, {"polarity": "string"} | curated.question.COLUMNS))
    with pytest.raises(VtError, match=r"its clip is '.*', expected a path below the clips' folder"):
        _ = curated.open_curated(path.parent).members


@pytest.mark.parametrize("name", ["../../x", "/x/y", "", "a\0b"])
def test_a_run_that_would_be_written_elsewhere_is_refused(name: str, tmp_path: Path) -> None:
    path = _run("runs/x/run.json")(tmp_path)
    store.write_json(path, json.loads(path.read_text()) | {"name": name})
    with pytest.raises(VtError, match=r"run\.json: its name is '.*', expected the name of a folder"):
        _load_run(path)


def test_a_split_or_a_shard_that_lies_elsewhere_is_refused(tmp_path: Path) -> None:
    path = _curated("manifest.json")(tmp_path / "data")
    store.write_json(path, json.loads(path.read_text()) | {"splits": {"../dev": 9}})
    with pytest.raises(VtError, match=r"manifest\.json: has a split '\.\./dev', expected the name of a file"):
        curated.open_curated(path.parent)
    index = _index(tmp_path / "model")
    store.write_json(index, {"weight_map": {"a": "../base/part-1.safetensors"}})
    with pytest.raises(VtError, match="expected the name of a file in the same folder"):
        stored.weight_files("base", index.parent)


def test_what_is_quoted_from_a_file_cannot_steer_a_terminal() -> None:
    assert str(VtError("is '\x1b[2J\u202eA\ud800'")) == r"is '\x1b[2J\u202eA\ud800'"
    assert len(str(VtError(f"is {'x' * 10**6}, expected y"))) < 500


# ---- bombs ---------------------------------------------------------------------------------------------------------------


def test_no_more_is_unpacked_than_is_allowed() -> None:
    packed = lzma.compress(bytes(10_000))
    assert outside.unpack_xz(packed, 10_000) == bytes(10_000)
    with pytest.raises(outside.TooLargeError, match="more than 9,999 bytes"):
        outside.unpack_xz(packed, 9_999)
    for damaged in (packed[:-1], packed + b"x", packed + packed, b""):
        with pytest.raises(lzma.LZMAError):
            outside.unpack_xz(damaged, 10**6)
    blocks = list(outside._blocks(lzma.LZMADecompressor(), lzma.compress(bytes(50 * 2**20)), 100))
    assert [len(block) <= 2**20 for block in blocks] == [True]  # one block of fifty


def test_an_annotation_that_unpacks_to_gigabytes_costs_its_own_scene(tmp_path: Path) -> None:
    path = _zip(tmp_path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("annotation_00002.json", b"[" + b" " * outside.JSON_BYTES)
    found = annotations.read_scenes(annotations.find_annotations(path), [0, 1, 2]).scenes
    assert [isinstance(found[index], Scene) for index in (0, 1, 2)] == [True, True, False]
    assert "has more than 16,777,216 bytes" in str(found[2])


def test_a_difference_unpacks_to_as_many_bytes_as_the_base_has_weights(tmp_path: Path) -> None:
    path = _delta(tmp_path)
    metadata, *_ = delta._load(path)
    bomb = np.frombuffer(lzma.compress(bytes(10**6), filters=delta._XZ), np.uint8)
    save_numbers({"low": bomb, "high": bomb}, path, metadata)
    with pytest.raises(VtError, match=r"x\.delta: is damaged \(it unpacks to more than 603 bytes\); get it again"):
        _unpack_delta(path)


def test_a_pack_is_bounded_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _pack(tmp_path)
    whole = path.read_bytes()
    with tarfile.open(path) as archive:
        second = archive.getmembers()[1]
    path.write_bytes(whole[: second.offset] + bytes(512) + whole[second.offset + 512 :])  # tarfile sees an end here
    with pytest.raises(VtError, match=r"study-1\.tar: is damaged \(it is cut or damaged after 1 files\); copy it again"):
        _unpack(path)
    path.write_bytes(whole)
    monkeypatch.setattr(outside, "PACK_BYTES", 10_000)
    with pytest.raises(VtError, match=r"study-1\.tar: is damaged \(it unpacks to more than 10,000 bytes\)"):
        _unpack(path)


def test_a_link_in_a_pack_is_refused(tmp_path: Path) -> None:
    path = _pack(tmp_path)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        link = tarfile.TarInfo("records/x")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        archive.addfile(link)
    path.write_bytes(parts.tar([parts.Item("0000.tar.xz", lzma.compress(buffer.getvalue()))]))
    with pytest.raises(VtError, match="records/x is no file of a study"):
        _unpack(path)


@pytest.mark.parametrize("as_category", [False, True])
def test_a_table_of_one_long_value_in_thousands_of_rows_is_bounded(
    as_category: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = pa.DictionaryArray.from_arrays(pa.array(np.zeros(5000, np.int32)), pa.array(["x" * 10**4]))
    parquet.write_table(pa.table({"text": words if as_category else words.cast(pa.string())}), tmp_path / "x.parquet")
    assert (tmp_path / "x.parquet").stat().st_size < 10**4  # fifty megabytes when it is read
    monkeypatch.setattr(tables, "TABLE_BYTES", 2**24)
    with pytest.raises(VtError, match=r"x\.parquet: cannot be read as parquet: it holds more than 16,777,216 bytes"):
        tables.read(tmp_path / "x.parquet", {"text": "string"})


# ---- damage that would change a number ------------------------------------------------------------------------------------


def test_a_page_of_a_table_carries_a_checksum(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(tables.to_bytes([{"n": number} for number in range(1000)], {"n": "int64"}))
    whole = path.read_bytes()
    column = parquet.ParquetFile(path).metadata.row_group(0).column(0)
    at = column.dictionary_page_offset + column.total_compressed_size // 2  # amid the distinct values
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    with pytest.raises(VtError, match=r"x\.parquet: cannot be read as parquet: "):
        tables.read(path, {"n": "int64"})


def test_curating_writes_hashes_and_what_is_changed_afterwards_is_refused(
    tmp_path: Path,
) -> None:
    assert curate_release(_release(tmp_path / "release"), tmp_path / "out") == 0
    hashes = curated.open_curated(tmp_path / "out").manifest.files
    assert sorted(hashes) == ["labels.parquet", "labels/log.parquet", "questions.parquet", "scenes.jsonl"]
    rows = tables.read(tmp_path / "out" / "labels" / "log.parquet", curated.label.COLUMNS)
    rows[0]["answer"] = "D"
    store.write_bytes(tmp_path / "out" / "labels" / "log.parquet", tables.to_bytes(rows, curated.label.COLUMNS))
    with pytest.raises(VtError, match=r"log\.parquet: is damaged or was changed, its SHA-256 is not that in manifest\.json"):
        _ = curated.open_curated(tmp_path / "out").labels


def test_counts_and_ids_are_checked_where_there_are_no_hashes(tmp_path: Path) -> None:
    path = _bare_table(tmp_path / "data")
    rows = parquet.read_table(path).to_pylist()
    columns = {"polarity": "string"} | curated.question.COLUMNS
    store.write_bytes(path, tables.to_bytes(rows[1:], columns))
    with pytest.raises(VtError, match=r"has \{'dev': 8\} questions by split, manifest\.json says \{'dev': 9\}"):
        _ = curated.open_curated(path.parent).members
    store.write_bytes(path, tables.to_bytes([*rows[1:], rows[1]], columns))
    with pytest.raises(VtError, match=r"question 100:1 is there 2 times"):
        _ = curated.open_curated(path.parent).members


def test_settings_after_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    path = _config("study-cpu.toml")(tmp_path)
    expected = load_study(path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert msgspec.to_builtins(load_study(path)) == msgspec.to_builtins(expected)
