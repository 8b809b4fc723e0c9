"""Labels judged by eye: which are drawn, what the page keeps to itself, and the precision that is read back."""

import json
from pathlib import Path

import pytest
from curated_factory import a_question, write_curated, write_labels
from vt_command import one_error, vt

from videothinker.curate.audit import drawn
from videothinker.records import Category, Label


def labels(**counts: int) -> dict[str, Label]:
    return {
        f"{kind}{i}": Label(question_id=f"{kind}{i}", observer="o", rule="r", category=Category(kind), answer=None)
        for kind, n in counts.items()
        for i in range(n)
    }


def test_a_rare_category_is_drawn_as_often_as_it_can_be() -> None:
    found = drawn(labels(observational=40, inferential=3), 10, seed=1)
    assert sum(one.category is Category.INFERENTIAL for one in found) == 3
    assert len({one.question_id for one in found}) == 10
    assert found == drawn(labels(observational=40, inferential=3), 10, seed=1)
    assert found != drawn(labels(observational=40, inferential=3), 10, seed=2)
    assert len(drawn(labels(observational=2), 10, seed=1)) == 2


def test_a_page_and_its_verdicts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = [a_question(f"{scene}:0") for scene in range(4)]
    curated = write_curated(tmp_path / "curated", {"dev": asked}, scenes=())
    kinds = {"0:0": "observational", "1:0": "observational", "2:0": "inferential", "3:0": "unsure"}
    file = write_labels(tmp_path / "p.parquet", "probe:x:twin", kinds)
    sheet = tmp_path / "sheet.html"
    assert vt("curate", "audit", "--data", curated.folder, "--labels", file, "--out", sheet) == 0
    assert "4 questions" in capsys.readouterr().out
    assert vt("curate", "audit", "--data", curated.folder, "--labels", file, "--out", sheet, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"n_questions": 4, "sheet": str(sheet)}
    page = sheet.read_text()
    assert all(f'"{key}"' in page for key in kinds)

    said = {"0:0": "observational", "1:0": "inferential", "2:0": "unsure", "3:0": "inferential"}
    rows = [{"question_id": key, "group": key[0], "category": kinds[key], "verdict": said[key]} for key in kinds]
    verdicts = tmp_path / "verdicts.json"
    verdicts.write_text(json.dumps({"observer": "probe:x:twin", "rule": "twin", "n_drawn": 4, "verdicts": rows}))
    assert vt("curate", "audit", "--read", verdicts) == 0
    printed = capsys.readouterr().out.replace("\u00a0", " ")
    assert "precision observational: 50.0 %" in printed  # one of two
    assert "precision inferential: \u2013 of 0, 1 could not be told" in printed
    assert vt("curate", "audit", "--read", verdicts, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["observer"], document["n_drawn"], document["n_judged"], document["n_unsure"]) == ("probe:x:twin", 4, 4, 1)
    assert [(one["category"], one["precision"]["value"], one["n_judged"]) for one in document["judged"]] == [
        ("observational", 0.5, 2), ("inferential", None, 0),
    ]  # fmt: skip

    verdicts.write_text(json.dumps({"observer": "o", "rule": "r", "n_drawn": 4, "verdicts": rows + rows[:1]}))
    assert vt("curate", "audit", "--read", verdicts) == 2
    assert "judges question 0:0 twice" in one_error(capsys)
    assert vt("curate", "audit", "--data", curated.folder) == 2
    assert "--labels FILE" in one_error(capsys)
