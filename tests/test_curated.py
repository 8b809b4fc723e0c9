"""Opening a curated folder: what is missing is said, and paths hold when the folder moves."""

from pathlib import Path

import pytest

from videothinker import store
from videothinker.curated import counterfactual_name, open_curated
from videothinker.errors import VtError


def curated_folder(folder: Path, splits: dict[str, int], videos_root: str | None = "../videos") -> Path:
    store.write_json(
        folder / "manifest.json", {"rule": "oracle", "seed": 42, "videos_root": videos_root, "splits": splits, "more": 1}
    )
    for split in splits:
        store.write_json(folder / f"{split}.json", [])
    return folder


def test_a_folder_without_manifest_is_not_finished(tmp_path: Path) -> None:
    with pytest.raises(VtError, match=r"has no manifest.json.*vt curate clevrer"):
        open_curated(tmp_path)


def test_an_unknown_split_names_those_that_exist(tmp_path: Path) -> None:
    curated = open_curated(curated_folder(tmp_path / "c", {"train": 0, "dev": 0}))
    with pytest.raises(VtError, match=r"no split 'test'; its splits are train, dev"):
        curated.questions("test")


@pytest.mark.parametrize(("splits", "default"), [({"train": 1, "dev": 1}, "dev"), ({"validation": 3}, "validation")])
def test_default_split(tmp_path: Path, splits: dict[str, int], default: str) -> None:
    assert open_curated(curated_folder(tmp_path / "c", splits)).default_split() == default


def test_no_default_split_among_several_without_dev(tmp_path: Path) -> None:
    curated = open_curated(curated_folder(tmp_path / "c", {"train": 1, "test": 1}))
    with pytest.raises(VtError, match="choose one with --split"):
        curated.default_split()


def test_the_clips_move_with_the_folder(tmp_path: Path) -> None:
    curated_folder(tmp_path / "here" / "c", {"dev": 0})
    (tmp_path / "here").rename(tmp_path / "there")
    assert open_curated(tmp_path / "there" / "c").videos_root == tmp_path / "there" / "videos"


def test_videos_on_the_command_line_win(tmp_path: Path) -> None:
    folder = curated_folder(tmp_path / "c", {"dev": 0}, videos_root=None)
    assert open_curated(folder).videos_root is None
    (tmp_path / "v").mkdir()
    assert open_curated(folder, tmp_path / "v").videos_root == tmp_path / "v"
    with pytest.raises(VtError, match="is not a folder"):
        open_curated(folder, tmp_path / "nowhere")


def test_counterfactual_name_keeps_dots_in_the_stem() -> None:
    assert counterfactual_name("a.b.mp4", 2) == "a.b.without_2.mp4"
