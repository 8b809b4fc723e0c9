"""Opening a curated folder: what is missing is said, paths hold when it moves, and what was written is what is read."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from curated_factory import a_choice, a_question, labels_of, write_curated

from videothinker import store
from videothinker.curated import (
    Curated,
    Member,
    counterfactual_name,
    label_table,
    open_curated,
    question_table,
    read_label_sets,
)
from videothinker.errors import VtError
from videothinker.footage import Footage
from videothinker.records import Category, Clip, Form, Label, LabelSet, Question, Rule


def curated_folder(
    folder: Path, splits: dict[str, int], videos_root: str | None = "../videos", members: Sequence[Member] = ()
) -> Path:
    """A folder without labels."""
    manifest = {"rule": None, "seed": 42, "videos_root": videos_root, "splits": splits, "more": 1}
    store.write_json(folder / "manifest.json", manifest)
    store.write_bytes(folder / "questions.parquet", question_table(members))
    return folder


def test_a_folder_without_manifest_is_not_finished(tmp_path: Path) -> None:
    with pytest.raises(VtError, match=r"has no manifest.json.*vt curate"):
        open_curated(tmp_path)


def test_a_folder_of_an_earlier_version_says_how_to_make_it_again(tmp_path: Path) -> None:
    made_by = {"command": "vt curate clevrer --annotations a --questions q --out c"}
    manifest = {"rule": "oracle", "seed": 42, "videos_root": None, "splits": {"dev": 1}, "provenance": made_by}
    store.write_json(tmp_path / "manifest.json", manifest)
    store.write_json(tmp_path / "dev.json", [])
    with pytest.raises(VtError, match=r"an earlier version.*`vt curate clevrer --annotations a --questions q --out c`"):
        open_curated(tmp_path)


def test_a_folder_made_when_any_option_was_the_default_is_made_again_under_it(tmp_path: Path) -> None:
    made_by = {"command": "vt curate clevrer --annotations a --questions q --out c"}
    manifest = {"rule": "any-option", "seed": 42, "videos_root": None, "splits": {"dev": 1}, "provenance": made_by}
    store.write_json(tmp_path / "manifest.json", manifest)
    with pytest.raises(VtError, match=r"in the same place with `vt curate clevrer .* --out c --rule any-option`"):
        open_curated(tmp_path)
    made_by["command"] += " --rule any-option"
    store.write_json(tmp_path / "manifest.json", manifest)
    with pytest.raises(VtError, match=r"in the same place with `vt curate clevrer .* --out c --rule any-option` \(runs"):
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


# ---- questions ----


def test_questions_are_read_as_they_were_written(tmp_path: Path) -> None:
    whole = a_question("3:1", gold="AC", negated=True).question
    part = Question(
        question_id="clip/7",
        text="Does it fall?",
        options=("yes", "no"),
        clip=Clip(path="frames/7", start=1.5, end=2.0, fps=3.0),
        gold=("B",),
        form=Form.YES_NO,
        group="film 7",
        facets={"discipline": "Science"},
        source="x",
    )
    nothing = a_choice("9", gold="B", facets={"polarity": "will"})
    members = [Member(whole, "train", True), Member(part, "dev", True), Member(nothing, "train", False)]
    found = open_curated(curated_folder(tmp_path / "c", {"train": 2, "dev": 1}, members=members))
    assert found.members == members  # a facet that a question lacks is not an empty one
    assert found.questions("train") == [whole]  # what a smaller training set left out is in no split
    assert found.questions("dev") == [part]


def test_what_a_training_set_left_out_is_left_out_of_train_alone(tmp_path: Path) -> None:
    members = [Member(a_choice("1"), "test", False), Member(a_choice("2"), "test", True)]
    found = open_curated(curated_folder(tmp_path / "c", {"test": 2}, members=members))
    assert [question.question_id for question in found.questions("test")] == ["1", "2"]


def test_no_correct_option_is_not_an_unknown_one(tmp_path: Path) -> None:
    folder = curated_folder(tmp_path / "c", {"dev": 1}, members=[Member(a_question(gold="").question, "dev", True)])
    assert open_curated(folder).questions("dev")[0].gold == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"form": "essay"}, "form is 'essay', expected one of letters, choice, yes-no"),
        ({"gold": "A,E"}, "gold is A,E, which its 4 options do not have"),
        ({"gold": "A,B", "form": "choice"}, "gold is A,B, expected one letter for the form choice"),
        ({"gold": "", "form": "yes-no"}, "gold is none, expected one letter for the form yes-no"),
        ({"options": ["x"] * 27, "n_options": 27}, "has 27 options, more than there are letters"),
        ({"n_options": 3}, "has 4 options, but its n_options is 3"),
        ({"group": None}, "has no group"),
        ({"gold": None}, "has no gold"),
    ],
)
def test_a_question_that_cannot_be_asked_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    folder = write_curated(tmp_path / "c", {"dev": [a_question()]}).folder
    change(folder / "questions.parquet", **changes)
    with pytest.raises(VtError, match=f"questions.parquet: question 0:0: {message}"):
        open_curated(folder).questions("dev")


def test_a_table_that_is_none_is_said_with_what_it_lacks(tmp_path: Path) -> None:
    folder = write_curated(tmp_path / "c", {"dev": [a_question()]}).folder
    path = folder / "questions.parquet"
    pl.read_parquet(path).drop("group").write_parquet(path)
    with pytest.raises(VtError, match=r"questions\.parquet: has the columns question_id, form, .*, expected question_id, g"):
        open_curated(folder).questions("dev")
    path.write_bytes(b"PAR1")
    with pytest.raises(VtError, match=r"questions\.parquet: cannot be read as parquet"):
        open_curated(folder).questions("dev")


@pytest.mark.parametrize(
    "clip", [Clip(path="a.mp4"), Clip(path="a.mp4", start=1.0), Clip(path="a.mp4", end=2.0), Clip(path="a", fps=3.0)]
)
def test_a_part_of_a_clip_is_never_shown_as_all_of_it(tmp_path: Path, clip: Clip) -> None:
    asked = msgspec.structs.replace(a_choice("1"), clip=clip)
    folder = curated_folder(tmp_path / "c", {"dev": 1}, members=[Member(asked, "dev", True)])
    found = open_curated(folder, tmp_path)
    assert found.clip(found.questions("dev")[0]) == Footage(tmp_path.resolve() / clip.path, clip.start, clip.end, clip.fps)


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ({"start": -1.0}, "its part begins at -1 s, expected 0 or more"),
        ({"start": float("nan")}, "its part begins at nan s"),
        ({"start": 3.0, "end": 3.0}, "its part ends at 3 s, expected more than its beginning at 3 s"),
        ({"end": 0.0}, "its part ends at 0 s, expected more than its beginning at 0 s"),
        ({"fps": 0.0}, "its folder of frames has 0 frames per second, expected 0.01 to 1000"),
    ],
)
def test_a_part_that_is_none_is_refused(tmp_path: Path, part: dict[str, float], said: str) -> None:
    asked = msgspec.structs.replace(a_choice("1"), clip=Clip(path="a.mp4", **part))
    folder = curated_folder(tmp_path / "c", {"dev": 1}, members=[Member(asked, "dev", True)])
    with pytest.raises(VtError, match=rf"questions\.parquet: question 1: {said}"):
        open_curated(folder).questions("dev")


def test_a_facet_cannot_be_named_like_a_column() -> None:
    with pytest.raises(ValueError, match="a facet is named 'source'"):
        question_table([Member(a_choice("1", facets={"source": "x"}), "dev", True)])


# ---- labels ----


def test_the_rules_of_the_collision_log_lie_in_one_file_and_the_manifests_is_the_own_one(tmp_path: Path) -> None:
    asked = [a_question("0:0", any_option=Category.INFERENTIAL), a_question("0:1", gold="A", observer="")]
    labels = write_curated(tmp_path / "c", {"dev": asked}, rule=Rule.ORACLE).labels
    assert [(one.observer, one.rule, one.name) for one in labels.sets] == [("log", rule, rule) for rule in Rule]
    assert labels.rule == "oracle"
    assert [labels.category(key) for key in ("0:0", "0:1", "9:9")] == [Category.OBSERVATIONAL, Category.INFERENTIAL, None]
    assert [labels.observer(key) for key in ("0:0", "0:1", "9:9")] == [("A",), (), None]  # () is an answer, None is none
    other = labels.under("any-option")
    assert other.rule == "any-option"
    assert other.category("0:0") is Category.INFERENTIAL
    assert labels.under(None) is labels
    with pytest.raises(VtError, match="no labels 'guess' for these questions; there are any-option, correct-option, oracle"):
        labels.under("guess")


def another_observer(*ids: str, rule: str = "oracle", observer: str = "still") -> LabelSet:
    """Labels by who saw one frame and answered B."""
    rows = [
        Label(question_id=key, observer=observer, rule=rule, category=Category.INFERENTIAL, reason=None, answer=("B",))
        for key in ids
    ]
    return LabelSet(observer, rule, {one.question_id: one for one in rows})


def with_labels(folder: Path, name: str, *sets: LabelSet) -> Curated:
    store.write_bytes(folder / "labels" / name, label_table(sets))
    return open_curated(folder)


def test_labels_of_another_observer_lie_beside_the_own_ones(tmp_path: Path) -> None:
    folder = write_curated(tmp_path / "c", {"dev": [a_question("0:0"), a_question("0:1")]}).folder
    labels = with_labels(folder, "still.parquet", another_observer("0:1")).labels
    assert [one.name for one in labels.sets] == ["any-option", "correct-option", "oracle", "still/oracle"]
    assert labels.rule == "oracle"
    still = labels.under("still/oracle")
    assert (still.category("0:0"), still.category("0:1")) == (None, Category.INFERENTIAL)
    assert (still.observer("0:0"), still.observer("0:1")) == (None, ("B",))


def test_a_folder_without_labels_has_none(tmp_path: Path) -> None:
    labels = open_curated(curated_folder(tmp_path / "c", {"dev": 0})).labels
    assert (labels.own, labels.rule, labels.sets, labels.category("0:0")) == (None, None, [], None)
    with pytest.raises(VtError, match="no labels 'oracle' for these questions; there are none"):
        labels.under("oracle")


def test_two_files_with_the_same_labels_are_refused(tmp_path: Path) -> None:
    folder = write_curated(tmp_path / "c", {"dev": [a_question()]}).folder
    with pytest.raises(VtError, match="two files have labels 'oracle'; remove one of them"):
        _ = with_labels(folder, "again.parquet", labels_of([a_question()]).sets[-1]).labels


def test_the_labels_that_the_manifest_names_have_to_be_there(tmp_path: Path) -> None:
    folder = write_curated(tmp_path / "c", {"dev": [a_question()]}).folder
    (folder / "labels" / "log.parquet").unlink()
    with pytest.raises(VtError, match=r"lacks the labels of the rule oracle that manifest\.json names; curate again"):
        _ = open_curated(folder).labels
    with pytest.raises(VtError, match="lacks the labels of the rule oracle"):  # another observer's do not stand in for them
        _ = with_labels(folder, "still.parquet", another_observer("0:0")).labels


def test_a_label_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    reasons = {"0:0": "the observer answers A", "0:1": None}
    answers: dict[str, tuple[str, ...] | None] = {"0:0": ("A", "C"), "0:1": None}
    members = {
        key: Label(
            question_id=key, observer="o", rule="r", category=Category.OBSERVATIONAL, reason=reasons[key], answer=answers[key]
        )
        for key in reasons
    }
    sets = [LabelSet("o", "r", members), another_observer("0:0")]
    (tmp_path / "x.parquet").write_bytes(label_table(sets))
    assert read_label_sets(tmp_path / "x.parquet") == sets


def test_label_files_may_come_from_polars_and_have_scores_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(label_table([another_observer("0:0")]))
    pl.read_parquet(path).with_columns(confidence=pl.lit(0.5)).write_parquet(path)
    assert read_label_sets(path) == [another_observer("0:0")]


@pytest.mark.parametrize(
    ("ids", "changes", "message"),
    [
        (("0:0", "0:0"), {}, "labels question 0:0 twice for still, oracle"),
        (("0:0",), {"category": "maybe"}, "question 0:0: category is 'maybe', expected one of observational, inferential"),
    ],
)
def test_a_label_file_that_contradicts_itself_is_refused(
    tmp_path: Path, ids: Sequence[str], changes: dict[str, Any], message: str
) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(label_table([another_observer(key) for key in ids]))
    change(path, **changes)
    with pytest.raises(VtError, match=message):
        read_label_sets(path)


def change(path: Path, **changes: Any) -> None:
    """Give every row of a table other values."""
    table = pl.read_parquet(path)
    columns = [pl.Series(name, [value] * table.height, dtype=table.schema[name]) for name, value in changes.items()]
    table.with_columns(*columns).write_parquet(path)


# ---- what only CLEVRER has ----


def test_scenes_and_removed_objects_are_found_by_the_question(tmp_path: Path) -> None:
    found = write_curated(tmp_path / "c", {"dev": [a_question("7:2")]})
    (asked,) = found.questions("dev")
    assert found.scenes[asked.group].scene_index == 7
    assert found.removed_objects == {asked.question_id: 0}
    others = open_curated(curated_folder(tmp_path / "other", {"dev": 0}))
    assert (others.scenes, others.removed_objects) == ({}, {})
