"""Reading questions: one that cannot be used costs itself and no other; only a file that is no use at all is an error."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from release_factory import DESCRIPTIVE, DIALECTS, entry, question

from videothinker.curate.datasets.clevrer.questions import ReadRelease, read_questions
from videothinker.errors import VtError


def read(tmp_path: Path, content: Any) -> ReadRelease:
    path = tmp_path / "train.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return read_questions(path)


def without(thing: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in thing.items() if name != key}


def with_choice(**changes: Any) -> dict[str, Any]:
    """A question whose second choice is changed."""
    asked = question()
    asked["choices"][1] |= changes
    return asked


def test_only_counterfactual_questions_are_read(tmp_path: Path) -> None:
    content = [entry(3, question(12, 2, ((0, 1), (1, 3), (0, 3)), "AC", negated=True, dialect=DIALECTS[1])), entry(4)]
    asked = read(tmp_path, content)
    assert asked.bad == []
    assert asked.scene_indices == {3, 4}
    assert asked.sha256 == hashlib.sha256((tmp_path / "train.json").read_bytes()).hexdigest()
    [only] = asked.questions
    assert (only.scene_index, only.qid, only.gold) == (3, 12, ("A", "C"))
    assert only.problem == "Without object 2, what will not happen?"
    assert only.options == ("Object 0 and object 1 collide", "Object 1 and object 3 collide", "Object 0 and object 3 collide")
    assert only.program[-2:] == ("belong_to", "negate")
    assert only.choice_programs[0][-1] == "filter_collision"


def test_letters_follow_the_order_of_the_file_and_not_choice_id(tmp_path: Path) -> None:
    asked = question(options=((0, 1), (0, 3), (1, 3)), correct="B")
    for choice, number in zip(asked["choices"], (7, 3, 5), strict=True):
        choice["choice_id"] = number
    [only] = read(tmp_path, [entry(0, asked)]).questions
    assert only.gold == ("B",)


@pytest.mark.parametrize(
    ("broken", "qid", "reason"),
    [
        (without(question(5), "question_id"), None, "[1].questions[1]: object missing required field `question_id`"),
        (without(question(5), "question_type"), 5, "[1].questions[1]: object missing required field `question_type`"),
        (without(question(5), "program"), 5, "missing required field `program`"),
        (without(question(5), "choices"), 5, "missing required field `choices`"),
        (question(5) | {"question_id": "5"}, None, "question_id: expected `int`, got `str`"),
        (question(5, options=()), 5, "choices: expected `array` of length >= 1"),
        (question(5, options=[(0, 1)] * 27), 5, "choices: expected `array` of length <= 26"),
        (with_choice(answer="maybe"), 0, "choices[1].answer: invalid enum value 'maybe', expected correct, wrong"),
        (with_choice(program="unique"), 0, "choices[1].program: expected `array`, got `str`"),
        (with_choice(choice_id=0), 0, "choices[1].choice_id is 0 a second time"),
        (with_choice(choice=None), 0, "choices[1].choice: expected `str`, got `null`"),
        (question() | {"choices": [without(question()["choices"][0], "answer")]}, 0, "choices[0] has no answer"),
        (17, None, "[1].questions[1]: expected `object`, got `int`"),
    ],
)
def test_a_question_that_cannot_be_used_says_why(tmp_path: Path, broken: Any, qid: int | None, reason: str) -> None:
    asked = read(tmp_path, [entry(0, question(1)), entry(1, broken), entry(2, question(1))])
    assert [(q.scene_index, q.qid) for q in asked.questions] == [(0, 1), (2, 1)]
    [bad] = asked.bad
    assert (bad.scene_index, bad.qid, bad.fault.file) == (1, qid, "train.json")
    assert reason in bad.fault.reason


@pytest.mark.parametrize(
    ("broken", "index", "reason"),
    [
        (without(entry(1, question(4), question(5)), "scene_index"), None, "[1]: object missing required field `scene_index`"),
        (entry(1, question(4), question(5)) | {"scene_index": "1"}, None, "[1]: scene_index: expected `int`, got `str`"),
        (entry(1, question(4), question(5)) | {"video_filename": "video_00002.mp4"}, 1,
         "[1].video_filename is 'video_00002.mp4', expected the clip of scene 1"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_scene_is_wrong_with_each_of_its_questions(
    tmp_path: Path, broken: Any, index: int | None, reason: str
) -> None:
    asked = read(tmp_path, [entry(0, question(1)), broken])
    assert [(bad.scene_index, bad.qid) for bad in asked.bad] == [(index, 4), (index, 5)]
    assert {bad.fault.reason for bad in asked.bad} == {reason}


def test_a_scene_without_questions_is_one_line(tmp_path: Path) -> None:
    asked = read(tmp_path, [entry(0, question(1)), {"scene_index": 1, "questions": None}])
    [bad] = asked.bad
    assert (bad.scene_index, bad.qid) == (None, None)
    assert bad.fault.reason == "[1]: questions: expected `array`, got `null`"


def test_of_questions_with_one_id_none_is_taken(tmp_path: Path) -> None:
    asked = read(tmp_path, [entry(0, question(1), question(2), question(1)), entry(3, question(2)), entry(3, question(2))])
    assert [(q.scene_index, q.qid) for q in asked.questions] == [(0, 2)]
    assert [(bad.scene_index, bad.qid) for bad in asked.bad] == [(0, 1), (0, 1), (3, 2), (3, 2)]
    assert asked.bad[0].fault.reason == "question_id 1 of scene 0 is there 2 times"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (json.dumps([entry(0, question())])[:-30].encode(), "the file is cut; download it again); expected the list of scenes"),
        (json.dumps([entry(0, question()) | {"x": "\u00e9"}], ensure_ascii=False).encode("latin-1"), "is not UTF-8"),
        ({"0": {"questions": [question()]}}, "expected `array`, got `object`; expected the list of scenes"),
        (b"[" * 100_000, "maximum recursion depth exceeded"),
        ([], "has no counterfactual question, in 0 scenes"),
        ([entry(0)], "has no counterfactual question, in 1 scenes"),
    ],
)
def test_a_file_of_no_use_is_an_error(tmp_path: Path, content: Any, reason: str) -> None:
    with pytest.raises(VtError) as error:
        read(tmp_path, content)
    assert reason in str(error.value)
    assert "train.json" in str(error.value)


def test_a_file_without_answers_is_named_as_such(tmp_path: Path) -> None:
    unanswered = question()
    unanswered["choices"] = [without(choice, "answer") for choice in unanswered["choices"]]
    only_choices = [{"scene_index": 0, "questions": [DESCRIPTIVE, unanswered]}]
    as_released = [{"scene_index": 0, "questions": [without(DESCRIPTIVE, "answer"), without(unanswered, "program")]}]
    for content in (only_choices, as_released):
        with pytest.raises(VtError, match=r"has no answers, like test\.json"):
            read(tmp_path, content)
    with pytest.raises(VtError, match="cannot be read"):
        read_questions(tmp_path / "nowhere.json")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_damaged_no_question_is_lost(tmp_path: Path, data: st.DataObject) -> None:
    """Change or drop one value anywhere in one of four questions: four come out, unless it says it is of another type."""
    content = [entry(index, question(1), question(2)) for index in range(2)]
    damaged = place = content[1]["questions"][2]
    while True:
        key = data.draw(st.sampled_from(list(range(len(place))) if isinstance(place, list) else list(place)))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    if isinstance(place, dict) and data.draw(st.booleans()):
        del place[key]
    else:
        place[key] = data.draw(st.none() | st.integers(-2, 2) | st.text(max_size=3) | st.just([]) | st.just({}))
    asked = read(tmp_path, content)
    assert {(q.scene_index, q.qid) for q in asked.questions} >= {(0, 1), (0, 2)}
    n_others = isinstance(damaged.get("question_type"), str) and damaged["question_type"] != "counterfactual"
    assert len(asked.questions) + len(asked.bad) == 4 - n_others
    assert all(item.fault.reason for item in asked.bad)
