"""A form of answer that has no options, made up here in the place of single choices: asked, read back, graded.

No such form is part of the package yet. What is asserted is that one needs nothing outside `answers` and its name.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from curated_factory import a_choice, write_unlabelled

from videothinker import answers
from videothinker.answers import Answer, Style
from videothinker.answers.choice import Choice
from videothinker.answers.style import answer_part, tagged
from videothinker.curated import NO_LABELS
from videothinker.diagnose import metrics, run, runs
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.records import Form, Prediction, Question, Status


class Digit(Choice):
    """How many, from 0 to 9?"""

    def listing(self, options: Sequence[str]) -> list[str]:
        return []

    def instruction(self, style: Style) -> str:
        return "Give one digit."

    def parse(self, reply: str, n_options: int) -> Answer | None:
        part = answer_part(reply)
        return (part.text,) if part is not None and part.text.isdigit() else None

    def fault(self, answer: Answer, n_options: int) -> str | None:
        return None if len(answer) == 1 and answer[0].isdigit() else "expected a digit"

    def solution(self, answer: Answer) -> str:
        return tagged(answer[0])

    def chance(self, n_options: int) -> float:
        return 0.1

    def chance_of_option(self, n_options: int) -> float:
        return 0.0

    def soft_chance(self, n_options: int, n_gold: int) -> float:
        return 0.1

    def random(self, n_options: int, bits: int) -> Answer:
        return (str(bits % 10),)


@pytest.fixture(autouse=True)
def _digits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(answers.FORMS, Form.CHOICE, Digit())


def a_number(question_id: str, gold: str) -> Question:
    return msgspec.structs.replace(a_choice(question_id, n_options=0), gold=(gold,))


def a_reply(question: Question, *chosen: str) -> Prediction:
    return Prediction(
        question_id=question.question_id, reply="", chosen=chosen, gold=question.gold, observer=None, status=Status.OK
    )


def test_options_are_counted_where_there_are_some() -> None:
    """One question of three options, of which two are judged right, and two numbers, of which one is right."""
    letters = a_choice("a", gold="A", n_options=3, form=Form.LETTERS)
    questions = [letters, a_number("b", "7"), a_number("c", "5")]
    replies = [a_reply(letters, "A", "B"), a_reply(questions[1], "7"), a_reply(questions[2], "7")]
    found = metrics.summarize(questions, replies, NO_LABELS)
    assert found.all.per_question.value == pytest.approx(1 / 3)
    assert (found.all.n_options, found.all.per_option.value) == (3, pytest.approx(2 / 3))
    assert found.all.chance == pytest.approx((1 / 8 + 1 / 10 + 1 / 10) / 3)
    assert {letter: score.n_options for letter, score in found.by_letter.items()} == {"A": 1, "B": 1, "C": 1}
    assert found.by_facet["form"]["choice"].per_option.value is None


def test_such_questions_are_written_asked_and_read_back(tmp_path: Path) -> None:
    curated = write_unlabelled(tmp_path / "curated", {"test": [a_number(str(i), str(i)) for i in range(10)]})
    assert curated.questions("test")[7].gold == ("7",)
    asked = {name: f"solver:{name}" for name in ("gold", "random")}
    jobs = run.plan(asked, curated, DiagnosisSettings(split="test"), tmp_path / "runs")
    run.diagnose(jobs, run.open_answerer)
    gold, random = (each.metrics.all for each in runs.load_runs([job.folder for job in jobs], curated))
    assert (gold.per_question.value, gold.n_unparsed) == (1.0, 0)
    assert (random.n_questions, random.n_unparsed, random.chance) == (10, 0, pytest.approx(0.1))
