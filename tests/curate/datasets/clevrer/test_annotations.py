"""Reading annotations and finding clips: layouts, every kind of damage with its reason, and no damage that raises."""

import hashlib
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from release_factory import OBJECTS, annotation, entry, question, write_release, zip_of

from videothinker.curate.datasets.clevrer import annotations
from videothinker.curate.datasets.clevrer.annotations import (
    Annotations,
    Fault,
    ReadScenes,
    decode_annotation,
    find_annotations,
    find_clips,
    read_scenes,
)
from videothinker.errors import VtError
from videothinker.records import Collision, Scene, SceneObject

NAME = "annotation_00012.json"


def decode(content: Any, name: str = NAME) -> Scene | Fault:
    return decode_annotation(content if isinstance(content, bytes) else json.dumps(content).encode(), name)


def read_all(path: Path, workers: int = 1) -> ReadScenes:
    found = find_annotations(path)
    return read_scenes(found, sorted(found.files), workers=workers)


def test_a_scene_is_its_objects_and_its_log() -> None:
    scene = decode(annotation(12))
    assert isinstance(scene, Scene)
    assert (scene.scene_index, scene.video) == (12, "video_00012.mp4")
    assert scene.objects[3] == SceneObject(3, "green", "rubber", "cube")
    assert scene.collisions == (Collision(20, (0, 1)), Collision(50, (0, 2)), Collision(70, (0, 1)))


def test_neither_the_order_of_keys_nor_extra_fields_nor_key_names_inside_strings_matter() -> None:
    content = annotation(12)
    trap = '"collision": [], "object_property": [] }'
    frames = [{"note": trap, **frame} for frame in content["motion_trajectory"]]
    frames[0]["objects"] = trap  # of a frame without a collision nothing but its number is read
    extra = {"note": trap, "motion_trajectory": frames, "collision_count": 3}
    backwards = {key: ({**content, **extra})[key] for key in reversed([*content, "note", "collision_count"])}
    assert decode(backwards) == decode(content)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is cut"),
        (json.dumps(annotation(12)).encode()[:-40], "the file is cut"),
        (json.dumps(annotation(12)).replace('"orientation": [0.0', '"orientation": [0.0.1', 1).encode(), "malformed"),
        (json.dumps(annotation(12)).encode() + b"}", "malformed"),
        (json.dumps(annotation(12)).replace("gray", "gr\u00e4y").encode("latin-1"), "is not UTF-8: invalid"),
        # a stray byte in a part that is skipped
        (json.dumps(annotation(12, note="caf\u00e9"), ensure_ascii=False).encode("latin-1"), "is not UTF-8"),
        (json.dumps(annotation(12)).encode("utf-16"), "is not UTF-8"),
        (b'{"motion_trajectory": [{"frame_id": 0, "objects": ' + b"[" * 100_000, "maximum recursion depth exceeded"),
        (b"[]", "expected `object`, got `array`"),
        ({k: v for k, v in annotation(12).items() if k != "collision"}, "missing required field `collision`"),
        (annotation(12, object_property=[{**OBJECTS[0], "color": "pink"}]), "color: invalid enum value 'pink', expected gray"),
        (annotation(12, object_property=[{"object_id": 0}]), "object_property[0]: object missing required field `color`"),
        (annotation(12, object_property=[*OBJECTS, OBJECTS[2]]), "object_property[5].object_id is 2 a second time"),
        (annotation(12, collision=[{"frame_id": 128, "object_ids": [0, 1]}]), "frame_id is 128, expected 0 to 127"),
        (annotation(12, collision=[{"frame_id": -1, "object_ids": [0, 1]}]), "collision[0].frame_id is -1, expected 0"),
        (annotation(12, collision=[{"frame_id": 3, "object_ids": [0]}]), "collision[0].object_ids: expected `array` of"),
        (annotation(12, collision=[{"frame_id": 3, "object_ids": [0, 5]}]), "names object 5, which is not in object_property"),
        (annotation(12, collision=[{"frame_id": 3, "object_ids": [1, 1]}]), "is [1, 1], expected two different objects"),
        (annotation(13), "scene_index is 13, expected 12 as in the file's name"),
        (annotation(12, video_filename="video_00013.mp4"), "is 'video_00013.mp4', expected the clip of scene 12"),
        (annotation(12, video_filename="../video_00012.mp4"), "video_filename is '../video_00012.mp4'"),
    ],
)  # fmt: skip
def test_an_annotation_that_cannot_be_used_says_why(content: Any, reason: str) -> None:
    fault = decode(content)
    assert isinstance(fault, Fault)
    assert fault.file == NAME
    assert reason in fault.reason


def test_a_change_that_leaves_something_possible_is_not_noticed() -> None:
    """What docs/clevrer.md says of damage: only the hash of the bytes tells of these."""
    sound = json.dumps(annotation(12))
    moved = sound.replace("[1.5, -2.25, 0.2]", "[7.5, -2.25, 0.2]", 1)
    assert moved != sound
    assert decode(moved.encode()) == decode(sound.encode())
    later = decode(sound.replace('"frame_id": 20, "object_ids"', '"frame_id": 21, "object_ids"').encode())
    assert isinstance(later, Scene)
    assert [hit.frame for hit in later.collisions] == [21, 50, 70]


def test_the_first_and_last_frame_are_in_range() -> None:
    log = [{"frame_id": frame, "object_ids": [0, 1]} for frame in (0, 127)]
    assert isinstance(decode(annotation(12, collision=log)), Scene)


@given(st.binary(max_size=60) | st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5),
       lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(list(annotation(1))), inner, max_size=5),
       max_leaves=8).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_junk_is_a_fault(data: bytes) -> None:
    assert isinstance(decode(data), Fault)


@given(st.data())
def test_a_damaged_annotation_is_a_fault_or_a_whole_scene(data: st.DataObject) -> None:
    content = bytearray(json.dumps(annotation(12)).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content) - 1))
        match data.draw(st.sampled_from(["cut", "change", "drop"])):
            case "cut":
                del content[place:]
                content += b"0"
            case "change":
                content[place] = data.draw(st.integers(0, 255))
            case "drop":
                content[place : place + data.draw(st.integers(1, 30))] = b" "
    scene = decode(bytes(content))
    if isinstance(scene, Scene):
        ids = {thing.object_id for thing in scene.objects}
        assert scene.scene_index == 12
        assert all(set(c.object_ids) <= ids and 0 <= c.frame < 128 for c in scene.collisions)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    return write_release(tmp_path / "release", [entry(index, question()) for index in (0, 7, 1999, 12345)])


def test_nested_flat_and_zipped_annotations_read_the_same(release: Path, tmp_path: Path) -> None:
    nested = read_all(release / "annotation_train")
    assert sorted(nested.scenes) == [0, 7, 1999, 12345]
    assert all(isinstance(scene, Scene) for scene in nested.scenes.values())
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in (release / "annotation_train").rglob("*.json"):
        os.link(path, flat / path.name)
    archive = zip_of(release / "annotation_train", tmp_path / "train.zip", prefix="annotation_train/")
    before = sorted(tmp_path.rglob("*"))
    assert read_all(flat) == nested
    assert read_all(archive) == nested
    assert sorted(tmp_path.rglob("*")) == before, "the zip is not unpacked"


def test_the_hash_is_of_the_bytes_in_order_of_scene(release: Path) -> None:
    read = read_all(release / "annotation_train")
    files = sorted((release / "annotation_train").rglob("*.json"))
    lines = [b"%d " % int(path.stem[-5:]) + hashlib.sha256(path.read_bytes()).digest() for path in files]
    assert read.sha256 == hashlib.sha256(b"".join(lines)).hexdigest()
    assert len(read.digests) == 4
    files[2].write_bytes(files[2].read_bytes() + b" ")
    changed = read_all(release / "annotation_train")
    assert changed.scenes == read.scenes
    assert changed.sha256 != read.sha256


def test_any_number_of_workers_gives_the_same(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(annotations, "_WORTH_A_POOL", 1)
    monkeypatch.setattr(annotations, "_CHUNK", 1)
    assert read_all(release / "annotation_train", workers=2) == read_all(release / "annotation_train", workers=1)


def test_what_is_not_there_once_is_a_fault(release: Path) -> None:
    root = release / "annotation_train"
    (root / "copy").mkdir()
    (root / "copy/annotation_00007.json").write_text("{}")
    read = read_scenes(find_annotations(root), [0, 7, 8])
    assert isinstance(read.scenes[0], Scene)
    twice = "was found 2 times: annotation_00000-01000/annotation_00007.json, copy/annotation_00007.json"
    assert read.scenes[7] == Fault("annotation_00007.json", twice)
    assert read.scenes[8] == Fault("annotation_00008.json", "is not in annotation_train")


def test_a_folder_that_links_to_itself_is_read_once(release: Path) -> None:
    (release / "annotation_train/again").symlink_to(release / "annotation_train", target_is_directory=True)
    assert sorted(find_annotations(release / "annotation_train").files) == [0, 7, 1999, 12345]


@pytest.mark.parametrize("outside", ["../annotation_00012.json", "/etc/annotation_00012.json", "a/../../annotation_00012.json",
                                     "..\\annotation_00012.json", "C:\\annotation_00012.json"])  # fmt: skip
def test_a_zip_entry_that_points_outside_is_refused(tmp_path: Path, outside: str) -> None:
    archive = tmp_path / "evil.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(outside, json.dumps(annotation(12)))
        file.writestr("annotation_00003.json", json.dumps(annotation(3)))
        file.writestr("__MACOSX/._annotation_00003.json", b"junk of another system")
    found = find_annotations(archive)
    assert found == Annotations(archive, {3: ["annotation_00003.json"]}, [outside])
    read = read_scenes(found, [3, 12])
    assert isinstance(read.scenes[3], Scene)
    fault = read.scenes[12]
    assert isinstance(fault, Fault)
    assert "points outside the archive and was not read" in fault.reason


def test_a_damaged_zip_entry_is_a_fault_and_a_cut_zip_an_error(release: Path, tmp_path: Path) -> None:
    archive = zip_of(release / "annotation_train", tmp_path / "train.zip")
    data = bytearray(archive.read_bytes())
    data[200] ^= 0xFF  # inside the first entry's compressed bytes
    archive.write_bytes(data)
    read = read_all(archive)
    fault = read.scenes[0]
    assert isinstance(fault, Fault)
    assert "cannot be unpacked from train.zip" in fault.reason
    assert isinstance(read.scenes[7], Scene)
    archive.unlink()
    zip_of(release / "annotation_train", archive)
    assert isinstance(read_all(archive).scenes[0], Scene), "a file that was replaced is read anew"
    cut = tmp_path / "cut.zip"
    cut.write_bytes(data[:-100])
    with pytest.raises(VtError, match=r"cut\.zip: is not a readable zip file"):
        find_annotations(cut)


def test_an_annotation_that_cannot_be_opened_is_a_fault(release: Path) -> None:
    found = find_annotations(release / "annotation_train")
    (release / "annotation_train" / found.files[7][0]).unlink()
    fault = read_scenes(found, [7]).scenes[7]
    assert isinstance(fault, Fault)
    assert fault.reason == "cannot be read (No such file or directory)"


def test_a_place_without_annotations_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "video_00000.mp4").touch()
    with pytest.raises(VtError, match=r"holds no annotation_00000\.json or the like, in 1 files"):
        find_annotations(tmp_path)
    with pytest.raises(VtError, match="neither a folder nor a file"):
        find_annotations(tmp_path / "nowhere")


def test_clips_are_found_where_they_lie_and_expected_where_the_release_has_them(tmp_path: Path) -> None:
    assert find_clips(None).path("video_12345.mp4") == "video_12000-13000/video_12345.mp4"
    nested = tmp_path / "nested"
    (nested / "video_00000-01000").mkdir(parents=True)
    (nested / "video_00000-01000/video_00003.mp4").touch()
    assert find_clips(nested).path("video_00003.mp4") == "video_00000-01000/video_00003.mp4"
    assert find_clips(nested).path("video_01000.mp4") == "video_01000-02000/video_01000.mp4"
    flat = tmp_path / "flat"
    flat.mkdir()
    (flat / "video_00003.mp4").touch()
    assert find_clips(flat).path("video_00003.mp4") == "video_00003.mp4"
    assert find_clips(flat).path("video_00004.mp4") == "video_00004.mp4"
    with pytest.raises(VtError, match=r"video_00003\.mp4 is there twice"):
        find_clips(tmp_path)
    with pytest.raises(VtError, match="is not a folder"):
        find_clips(tmp_path / "nowhere")
