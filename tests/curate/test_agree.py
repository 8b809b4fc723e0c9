"""Label files held against each other: shares and kappa by hand, what a file lacks, and the list of disagreements."""

import json
from pathlib import Path

import pytest
from curated_factory import a_question, write_curated, write_labels
from vt_command import one_error, vt

from videothinker import tables
from videothinker.curated import Curated

OBS, INF, UNS = "observational", "inferential", "unsure"


@pytest.fixture
def curated(tmp_path: Path) -> Curated:
    """Five questions about four clips."""
    asked = [a_question(key) for key in ("0:0", "0:1", "1:0", "2:0", "3:0")]
    return write_curated(tmp_path / "curated", {"dev": asked}, scenes=())


def test_two_files_by_hand(curated: Curated, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of four that both label, three are alike; one of each file is unsure.

    First: o o i u; second: o o o u. Alike 3/4; by chance 1/2 * 3/4 + 1/4 * 0 + 1/4 * 1/4 = 7/16, so kappa (12 - 7) / (16 - 7).
    """
    one = write_labels(tmp_path / "a.parquet", "probe:a", {"0:0": OBS, "0:1": OBS, "1:0": INF, "2:0": UNS, "9:9": OBS})
    other = write_labels(tmp_path / "b.parquet", "probe:b", {"0:0": OBS, "0:1": OBS, "1:0": OBS, "2:0": UNS, "3:0": INF})
    out = tmp_path / "apart.parquet"
    assert vt("curate", "agree", "--data", curated.folder, one, f"second={other}", "--out", out, "--json") == 0
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    (pair,) = found["pairs"]
    assert (pair["one"], pair["other"], pair["n_questions"], pair["n_clips"]) == ("a", "second", 4, 3)
    assert pair["alike"]["value"] == 0.75
    assert pair["kappa"]["value"] == pytest.approx(5 / 9)
    assert pair["kappa"]["ci95"][0] < 0 < pair["kappa"]["ci95"][1]
    assert (pair["n_decided"], pair["alike_decided"]["value"]) == (3, pytest.approx(2 / 3))
    assert pair["counts"][INF] == {OBS: 1, INF: 0, UNS: 0}
    first, second = found["raters"]
    assert (first["n_labels"], first["n_lacking"], first["n_strange"], first["categories"]) == (
        4,
        1,
        1,
        {OBS: 2, INF: 1, UNS: 1},
    )
    assert (second["n_labels"], second["n_lacking"], second["n_strange"]) == (5, 0, 0)
    assert (found["n_questions"], found["n_all"], found["n_apart"]) == (5, 4, 1)
    (row,) = tables.read(out, {"question_id": "string"}, more=True)
    assert (row["question_id"], row["a"], row["second"], row["n_labels"]) == ("1:0", INF, OBS, 2)
    assert "1 of 5 questions are not labelled alike" in shown.err


def test_a_file_of_several_sets_counts_as_several(curated: Curated, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    probe = write_labels(tmp_path / "a.parquet", "probe:a", {"0:0": OBS})
    (log,) = (curated.folder / "labels").glob("*.parquet")
    out = tmp_path / "apart.json"
    assert vt("curate", "agree", "--data", curated.folder, probe, f"log={log}", "--out", out, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert {one["name"] for one in found["raters"]} == {"a", "log/any-option", "log/correct-option", "log/oracle"}
    assert len(found["pairs"]) == 6
    assert json.loads(out.read_text()) == []
    assert all(pair["kappa"]["value"] is None for pair in found["pairs"])  # all say observational of all


def test_two_files_that_share_no_question(curated: Curated, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [write_labels(tmp_path / f"{key[0]}.parquet", f"probe:{key}", {key: OBS}) for key in ("0:0", "1:0")]
    assert vt("curate", "agree", "--data", curated.folder, *files, "--json") == 0
    (pair,) = json.loads(capsys.readouterr().out)["pairs"]
    assert (pair["n_questions"], pair["alike"]["value"], pair["kappa"]["value"]) == (0, None, None)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("a.parquet",), "expected two label files or more"),
        (("a.parquet", "a.parquet"), "both are called 'a'"),
        (("a.parquet", "text=b.parquet"), "text: is a column"),
        (("a.parquet", "strange.parquet"), "it is about other data"),
        (("a.parquet", "b.parquet", "--out", "x.csv"), "--out x.csv"),
        (
            ("a.parquet", "b.parquet", "--out", "./b.parquet"),
            "b.parquet: is one of the label files, which the list would replace",
        ),
        (("a.parquet", "nowhere.parquet"), "nowhere.parquet: cannot be read"),
    ],
)
def test_mistakes_are_told_in_a_line(
    curated: Curated,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, key in (("a", "0:0"), ("b", "1:0"), ("strange", "77:0")):
        write_labels(tmp_path / f"{name}.parquet", f"probe:{name}", {key: OBS})
    assert vt("curate", "agree", "--data", curated.folder, *arguments) == 2
    assert said in one_error(capsys)
