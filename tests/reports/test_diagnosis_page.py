"""The diagnosis report says what the metrics say, under one rule, with every reply as text."""

from pathlib import Path

import msgspec
import pytest
from curated_factory import labels_of, write_curated
from report_factory import Made, make, make_run, page_data, write_clip

from videothinker.curated import Curated, Labels, counterfactual_name
from videothinker.diagnose.metrics import summarize
from videothinker.diagnose.runs import Run, comparisons, scored
from videothinker.diagnose.verdict import verdict
from videothinker.errors import VtError
from videothinker.records import Rule, Status
from videothinker.records.run import Partial
from videothinker.reports.diagnosis import diagnosis_pages
from videothinker.reports.page import estimate, points


@pytest.fixture(scope="module")
def made() -> Made:
    return make(40)


@pytest.fixture(scope="module")
def runs(made: Made) -> list[Run]:
    questions = made.questions["train"]
    observer = make_run("observer", questions, skill=0, shortcut=1, reference=True)
    return [
        observer._replace(record=msgspec.structs.replace(observer.record, model="solver:observer")),
        make_run("base", questions, skill=0.7, shortcut=0.1),
        make_run("grpo", questions, skill=0.4, shortcut=0.9),
    ]


def curated(folder: Path, made: Made) -> Curated:
    """The made-up questions as a curated folder whose clips lie in `clips`."""
    (folder / "clips").mkdir()
    return write_curated(folder / "curated", made.questions, videos_root="../clips", scenes=made.scenes.values())


def drawn(runs: list[Run], folder: Curated | None = None, out: Path | None = None) -> dict[str, bytes]:
    """The pages of these runs, with the comparisons that belong to them."""
    return diagnosis_pages(runs, comparisons(runs), folder, out=out)


def test_accuracy_and_verdict_are_those_of_the_metrics(runs: list[Run]) -> None:
    pages = drawn(runs)
    markdown = pages["report.md"].decode()
    for run in runs[1:]:
        row = next(line for line in markdown.splitlines() if line.startswith(f"| {run.name} | 96 |"))
        assert estimate(run.metrics.inferential.per_question) in row
        assert f"- **{run.name}**: {verdict(run.metrics)}." in markdown
    assert markdown.index("| base |") < markdown.index("| observer (reference) |")


def test_every_pair_of_checkpoints_is_compared_and_references_are_not(runs: list[Run]) -> None:
    changes = drawn(runs)["report.md"].decode().split("## Changes")[1].split("##")[0]
    found = comparisons(runs)
    summary, *tests = [line for line in changes.splitlines() if line.startswith("| base | grpo |")]
    assert len(tests) == len(found) == 5
    assert [points(row.difference) in summary for row in found] == [True] * 5
    assert summary.count(" *") == sum(row.p_holm is not None and row.p_holm < 0.05 for row in found) > 0
    assert "observer |" not in changes
    assert "Changes between" not in drawn(runs[:2])["report.md"].decode()


def test_without_curated_data_there_are_questions_and_replies_and_no_scene(runs: list[Run]) -> None:
    data = page_data(drawn(runs)["report.html"])
    assert data["scenes"] == {}
    assert len(data["questions"]) == 96
    assert data["runs"] == ["base", "grpo"]
    assert data["questions"][0]["replies"][0]["reply"] == runs[1].predictions[0].reply


def test_a_run_that_was_asked_less_says_so(made: Made, runs: list[Run]) -> None:
    whole = runs[2]
    record = msgspec.structs.replace(whole.record, partial=Partial(asked=10, of=96))
    part = scored("grpo", record, whole.questions, whole.predictions[:10], whole.labels)
    pages = drawn([runs[1], part])
    assert b"grpo was asked 10 of 96 questions" in pages["report.html"]
    assert b"grpo was asked 10 of 96 questions" in pages["report.md"]
    replies = [question["replies"] for question in page_data(pages["report.html"])["questions"]]
    assert sum(reply[1] is None for reply in replies) == 86


def test_a_run_without_any_answer_is_drawn_as_nothing(runs: list[Run]) -> None:
    empty = runs[1]._replace(questions=[], predictions=[], metrics=summarize([], [], runs[1].labels))
    markdown = drawn([empty])["report.md"].decode()
    assert "- **base**: nothing was answered." in markdown
    assert "| base | 0 | \u2013 | \u2013 | \u2013 | \u2013 |" in markdown


def test_where_a_probe_is_the_observer_no_page_speaks_of_the_collision_log(runs: list[Run]) -> None:
    own = runs[1].labels.own
    assert own is not None
    probed = own._replace(observer="probe:base:blind")
    labels = Labels([probed, own], probed)
    pages = drawn([run._replace(labels=labels) for run in runs])
    html, markdown = pages["report.html"].decode(), pages["report.md"].decode()
    assert "believes that a collision would happen" not in html
    assert "is here <strong>probe:base:blind</strong>" in html
    assert "whose observer is probe:base:blind and not a reading of a collision log" in markdown
    by_log = drawn(runs)
    assert "believes that a collision would happen" in by_log["report.html"].decode()
    picture = "figure-accuracy.svg"  # solver:observer reads the log, so its marks are not the probe's
    assert pages[picture] != by_log[picture]
    assert pages[picture] == drawn([run for run in runs if not run.reference])[picture]


def test_replies_and_names_stay_text(runs: list[Run]) -> None:
    attack = "</script><script>window.hacked = true</script>"
    run = runs[1]._replace(name=attack)
    run.predictions[0] = msgspec.structs.replace(run.predictions[0], reply=attack)
    html = drawn([run])["report.html"].decode()
    assert "<script>window" not in html
    assert page_data(html.encode())["questions"][0]["replies"][0]["reply"] == attack


def test_a_clip_that_could_not_be_read_shows_its_reason(runs: list[Run]) -> None:
    run = runs[2]
    lost = msgspec.structs.replace(
        run.predictions[0], status=Status.DECODE_ERROR, reply="", chosen=None, error="clip is cut short"
    )
    run = run._replace(predictions=[lost, *run.predictions[1:]])
    reply = page_data(drawn([run])["report.html"])["questions"][0]["replies"][0]
    assert reply == {"chosen": None, "right": False, "status": "decode_error", "reply": "clip is cut short"}


def test_the_film_without_the_object_stands_beside_the_film(tmp_path: Path, made: Made, runs: list[Run]) -> None:
    folder = curated(tmp_path, made)
    first = made.questions["train"][0]
    question, video = first.question, first.question.clip.path
    other = counterfactual_name(video, first.removed_object)
    write_clip(tmp_path / "clips" / video)
    write_clip(tmp_path / "clips" / other)
    html = drawn(runs, folder, tmp_path / "runs" / "dev")["report.html"]
    data = page_data(html)
    assert data["scenes"][question.group]["film"]["clip"] == f"../../clips/{video}"
    shown = next(row for row in data["questions"] if row["id"] == question.question_id)
    assert shown["film"]["clip"] == f"../../clips/{other}"
    assert len(shown["film"]["strip"]) == len(data["scenes"][question.group]["captions"])
    assert sum(bool(row.get("film")) for row in data["questions"] if row["id"] != question.question_id) == sum(
        one.scene_index == first.scene_index and one.removed_object == first.removed_object
        for one in made.questions["train"][1:]
    )


def test_runs_under_different_rules_and_no_runs_are_refused(made: Made, runs: list[Run]) -> None:
    asked, rows = runs[1].questions, runs[1].predictions
    other = runs[1]._replace(metrics=summarize(asked, rows, labels_of(made.questions["train"], Rule.ANY_OPTION)))
    with pytest.raises(VtError, match="different rules"):
        drawn([runs[2], other])
    with pytest.raises(VtError, match="no run"):
        drawn([runs[0]])
