"""Conditions in SQL over questions, facets, categories and scores: what they let through, what is unknown, what is refused."""

from pathlib import Path
from typing import Any

import pytest
from curated_factory import a_choice, a_question, write_curated, write_labels, write_unlabelled

from videothinker.curate.where import matching
from videothinker.curated import Curated, open_curated
from videothinker.errors import VtError
from videothinker.records import Category, Rule


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Scenes 0 to 3 of train with one question each, of which 0 and 1 are observational by the log; scene 9 of dev."""
    asked = [
        a_question(f"{i}:0", gold="A", observer="A" if i < 2 else "B", negated=i == 3, n_options=2 + i % 2) for i in range(4)
    ]
    write_curated(tmp_path / "curated", {"train": asked, "dev": [a_question("9:0")]})
    return tmp_path / "curated"


PROBED = {"0:0": "observational", "1:0": "inferential", "2:0": "unsure", "9:0": "observational"}


@pytest.fixture
def probed(folder: Path, tmp_path: Path) -> Curated:
    """With a probe's labels and scores of all but scene 3; its blind score of scene 1 is not a number."""
    blind = {"0:0": 0.25, "1:0": float("nan"), "2:0": 0.75}
    probe = write_labels(tmp_path / "probe.parquet", "probe:x", PROBED, blind=blind, twin={"0:0": 1.0, "1:0": 0.0, "2:0": 0.5})
    return open_curated(folder, label_files=[probe])


@pytest.mark.parametrize(
    ("condition", "ids", "n_unknown"),
    [
        ("category = 'observational'", {"0:0"}, 1),
        ("category <> 'unsure'", {"0:0", "1:0"}, 1),
        ("category is null", {"3:0"}, 0),
        ("blind < 0.5", {"0:0"}, 2),
        ("blind < 0.5 or twin < 0.5", {"0:0", "1:0"}, 1),
        ("twin > 0 and twin < 1", {"2:0"}, 1),
        ("polarity = 'will not'", {"3:0"}, 0),
        ("n_options = 2 and \"group\" <> '2'", {"0:0"}, 0),
        ("video like '%00003.mp4'", {"3:0"}, 0),
        ("twin >= 2", set(), 1),
    ],
)
def test_what_a_condition_lets_through(probed: Curated, condition: str, ids: set[str], n_unknown: int) -> None:
    found = matching(probed, "train", condition)
    assert (set(found.ids), found.n_questions, found.n_unknown) == (ids, 4, n_unknown)


def test_without_label_files_the_category_is_the_folders_own_or_that_of_a_rule(tmp_path: Path) -> None:
    asked = [a_question("0:0", gold="A", observer="B", any_option=Category.OBSERVATIONAL), a_question("1:0")]
    data = write_curated(tmp_path, {"train": asked})
    assert matching(data, "train", "category = 'inferential'").ids == {"0:0"}
    assert matching(data, "train", "category = 'inferential'", Rule.ANY_OPTION).ids == set()


def test_a_rule_counts_before_the_label_file_whose_scores_remain(probed: Curated) -> None:
    assert matching(probed, "train", "category = 'observational'", Rule.ORACLE).ids == {"0:0", "1:0"}
    assert matching(probed, "train", "category = 'observational' and twin = 0", Rule.ORACLE).ids == {"1:0"}


def test_a_facet_that_some_questions_lack_is_unknown_there(tmp_path: Path) -> None:
    asked = [a_choice("a", facets={"task": "count"}), a_choice("b"), a_choice("c", facets={"task": "order"})]
    found = matching(write_unlabelled(tmp_path, {"train": asked}), "train", "task = 'count'")
    assert (found.ids, found.n_unknown) == ({"a"}, 1)


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("blnd < 0.5", "there is no column 'blnd'; there are question_id, .*polarity, category, blind, twin"),
        ("blind <", "expected an SQL condition"),
        ("group = '1'", 'words of SQL, such as "group", in double quotes'),
        ("blind", "gives Float64, expected a condition that is true or false of each question"),
        ("max(blind) > 0.5", "says the same of all questions"),
        ("blind < 'a'", "cannot compare string with numeric"),
        ("options = 'a'", "expected an SQL condition"),
        ("read_csv('x') = 1", "unsupported function"),
    ],
)
def test_what_is_no_condition_is_refused_in_a_line(probed: Curated, condition: str, said: str) -> None:
    with pytest.raises(VtError, match=said) as caught:
        matching(probed, "train", condition)
    assert "\n" not in str(caught.value)


def test_a_column_that_two_files_have_is_told_by_the_names_of_the_files(folder: Path, tmp_path: Path) -> None:
    one = write_labels(tmp_path / "one.parquet", "probe:a", PROBED, blind={"0:0": 0.0, "1:0": 1.0}, frozen={"0:0": 1.0})
    two = write_labels(tmp_path / "two.parquet", "probe:b", PROBED, blind={"0:0": 1.0, "1:0": 1.0})
    data = open_curated(folder, label_files=[one, two])
    assert matching(data, "train", '"one.blind" < "two.blind" and frozen = 1').ids == {"0:0"}
    assert matching(data, "train", '"one.blind" = "two.blind"').ids == {"1:0"}
    with pytest.raises(VtError, match=r'several label files have such a column; say whose .*: "one\.blind" or "two\.blind"'):
        matching(data, "train", "blind < 0.5")
    with pytest.raises(VtError, match=r'in double quotes: "two\.blind"'):
        matching(data, "train", '"one.blind" < 0.5 and two.blind < 0.5')


def test_columns_of_one_name_in_files_of_one_name_are_refused(folder: Path, tmp_path: Path) -> None:
    one = write_labels(tmp_path / "a" / "probe.parquet", "probe:a", PROBED, blind={"0:0": 0.0})
    two = write_labels(tmp_path / "b" / "probe.parquet", "probe:b", PROBED, blind={"0:0": 1.0})
    with pytest.raises(
        VtError, match=r"a/probe\.parquet and .*b/probe\.parquet: both have a column 'blind'.*rename one of the files"
    ):
        matching(open_curated(folder, label_files=[one, two]), "train", "category = 'unsure'")


def test_a_column_that_the_questions_have_is_refused(folder: Path, tmp_path: Path) -> None:
    polarity = write_labels(tmp_path / "polarity.parquet", "probe:c", PROBED, polarity={"0:0": 1.0})
    with pytest.raises(VtError, match=r"polarity\.parquet: a column is called 'polarity', and .*questions\.parquet has one"):
        matching(open_curated(folder, label_files=[polarity]), "train", "polarity = 'will'")


def test_label_files_that_cannot_be_taken_are_refused(folder: Path, tmp_path: Path) -> None:
    def labels_with(*files: Path) -> Any:
        return open_curated(folder, label_files=files).labels

    with pytest.raises(VtError, match=r"log\.parquet: holds 3 label sets \(any-option, correct-option, oracle\), expected one"):
        labels_with(folder / "labels" / "log.parquet")
    other = write_labels(tmp_path / "other.parquet", "probe:x", {"77:0": "unsure"})
    with pytest.raises(VtError, match="labels none of the 5 questions"):
        labels_with(other)
    one, two = (write_labels(tmp_path / name, "probe:x", PROBED) for name in ("one.parquet", "two.parquet"))
    with pytest.raises(VtError, match=r"two\.parquet: holds labels 'probe:x/twin', which the folder or a file before it holds"):
        labels_with(one, two)
    with pytest.raises(VtError, match="cannot be read as parquet"):
        labels_with(tmp_path / "none.parquet")
    data = open_curated(folder, label_files=[one])
    assert data.labels.rule == "oracle", "what is asked does not depend on a label file"
    found = data.labels_by(None)
    assert found.rule == "probe:x/twin"
    assert data.labels_by("any-option").rule == "any-option"
    assert [found.category(f"{i}:0") for i in range(4)] == ["observational", "inferential", "unsure", None]
    assert [each.name for each in found.sets] == ["any-option", "correct-option", "oracle", "probe:x/twin"]
