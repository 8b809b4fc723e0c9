"""Programs, typed by hand in both dialects and in the forms of real explanatory questions; any token list ends well or in one
ProgramError."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videothinker.curate.datasets.clevrer.program import (
    Description,
    Event,
    EventKind,
    ProgramError,
    Removal,
    parse_choice,
    parse_question,
    resolve,
)
from videothinker.records import SceneObject

RED_CUBE = Description("red", None, "cube")
METAL = Description(None, "metal", None)


def tokens(text: str) -> tuple[str, ...]:
    return tuple(text.split())


CHOICES = {
    "all_events objects metal filter_material cube filter_shape unique filter_collision "
    "objects sphere filter_shape unique filter_collision unique": Event(
        EventKind.COLLISION, (Description(None, "metal", "cube"), Description(None, None, "sphere"))
    ),
    "events objects red filter_color cube filter_shape unique filter_collision "
    "objects metal filter_material unique filter_collision": Event(EventKind.COLLISION, (RED_CUBE, METAL)),
    # filters in another order than color, material, shape
    "events objects cube filter_shape red filter_color unique filter_in unique": Event(EventKind.IN, (RED_CUBE,)),
    "all_events objects metal filter_material unique filter_out": Event(EventKind.OUT, (METAL,)),
    "objects cyan filter_color rubber filter_material cylinder filter_shape unique": Event(
        EventKind.PRESENCE, (Description("cyan", "rubber", "cylinder"),)
    ),
    "objects metal filter_material": Event(EventKind.PRESENCE, (METAL,)),
}


@pytest.mark.parametrize("program", CHOICES)
def test_an_option_names_its_event(program: str) -> None:
    assert parse_choice(tokens(program)) == CHOICES[program]


@pytest.mark.parametrize(
    "program",
    [
        "all_events objects red filter_color cube filter_shape unique filter_counterfact belong_to",
        "objects red filter_color cube filter_shape unique counterfact_events belong_to",
        "all_events objects red filter_color cube filter_shape unique counterfact_events belong_to",
        "all_events objects red filter_color cube filter_shape unique get_counterfact belong_to",
        "objects red filter_color cube filter_shape unique get_counterfact belong_to",
    ],
)
def test_a_question_names_the_removed_object_in_every_dialect(program: str) -> None:
    assert parse_question(tokens(program)) == Removal(RED_CUBE, negated=False)
    assert parse_question(tokens(f"{program} negate")) == Removal(RED_CUBE, negated=True)
    assert parse_question(tokens(f"{program} negate negate")) == Removal(RED_CUBE, negated=False)


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("", "leaves nothing"),
        ("all_events objects red filter_colour", "token 3 'filter_colour' is unknown"),
        ("objects pink filter_color unique", "token 1 'pink' is unknown"),
        ("objects metal filter_color unique", "'metal' is no color"),
        ("objects red filter_color blue filter_color unique", "the color is filtered twice"),
        ("filter_color", "needs a word to filter by, found nothing"),
        ("red filter_color", "needs a set of objects, found nothing"),
        (
            "all_events objects red filter_color filter_collision",
            "needs one object (after 'unique'), found 'objects: red object'",
        ),
        ("all_events", "no filter says which event"),
        ("all_events objects red filter_color unique filter_collision unique", "'filter_collision' is there once"),
        ("all_events objects red filter_color unique filter_in objects unique filter_collision", "already filtered"),
        ("objects unique objects unique", "leaves 'object', 'object' on the stack"),
        ("unseen_events objects red filter_color unique filter_in", "'unseen_events' is not used by counterfactual questions"),
        ("objects null filter_moving unique", "token 1 'null' is not used"),
        ("all_events objects unique filter_counterfact belong_to", "names no event"),
    ],
)
def test_a_program_that_names_no_event_says_why(program: str, reason: str) -> None:
    with pytest.raises(ProgramError) as error:
        parse_choice(tokens(program))
    assert reason in str(error.value)


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("all_events objects red filter_color unique filter_counterfact", "does not end in 'belong_to'"),
        ("objects red filter_color unique", "does not end in 'belong_to'"),
        ("all_events objects red filter_color filter_counterfact belong_to", "needs one object"),
        ("belong_to", "needs counterfactual events, found nothing"),
        ("all_events objects red filter_color unique filter_counterfact negate", "needs a statement"),
    ],
)
def test_a_program_that_removes_nothing_says_why(program: str, reason: str) -> None:
    with pytest.raises(ProgramError) as error:
        parse_question(tokens(program))
    assert reason in str(error.value)


THINGS = (
    SceneObject(0, "red", "metal", "cube"),
    SceneObject(3, "red", "rubber", "cube"),
    SceneObject(7, "blue", "rubber", "sphere"),
)


def test_a_description_fits_exactly_one_object() -> None:
    assert resolve(Description(None, "metal", None), THINGS) == 0
    assert resolve(Description("red", "rubber", None), THINGS) == 3
    with pytest.raises(ProgramError, match=r"'red cube' fits 2 objects \(object_id 0, 3\)"):
        resolve(RED_CUBE, THINGS)
    with pytest.raises(ProgramError, match="'green object' fits no object"):
        resolve(Description("green"), THINGS)
    with pytest.raises(ProgramError, match="'object' fits 3 objects"):
        resolve(Description(), THINGS)


WORDS = """events all_events objects unique negate belong_to filter_counterfact counterfact_events filter_collision filter_in
filter_out filter_color filter_material filter_shape red blue metal rubber cube sphere filter_ancestor count nonsense"""


@given(st.lists(st.sampled_from(WORDS.split()), max_size=20))
def test_any_token_list_is_understood_or_refused(program: list[str]) -> None:
    for parse in (parse_choice, parse_question):
        with contextlib.suppress(ProgramError):
            assert isinstance(parse(tuple(program)), Event | Removal)


descriptions = st.builds(
    Description,
    st.sampled_from([None, "gray", "cyan", "purple"]),
    st.sampled_from([None, "metal", "rubber"]),
    st.sampled_from([None, "cube", "cylinder", "sphere"]),
)


@given(descriptions, descriptions, st.booleans(), st.data())
def test_a_program_put_together_from_descriptions_names_them(
    first: Description, second: Description, final_unique: bool, data: st.DataObject
) -> None:
    def refer(description: Description) -> list[str]:
        filters = [(word, f"filter_{name}") for name, word in description._asdict().items() if word]
        return ["objects", *(token for pair in data.draw(st.permutations(filters)) for token in pair), "unique"]

    start = data.draw(st.sampled_from(["events", "all_events"]))
    program = [start, *refer(first), "filter_collision", *refer(second), "filter_collision", *["unique"] * final_unique]
    assert parse_choice(tuple(program)) == Event(EventKind.COLLISION, (first, second))
    question = [start, *refer(first), "filter_counterfact", "belong_to", *["negate"] * final_unique]
    assert parse_question(tuple(question)) == Removal(first, negated=final_unique)
