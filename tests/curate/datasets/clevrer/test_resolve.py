"""From programs to labels: the three rules and the observer on questions worked out by hand, in both dialects.

Objects and log are those of release_factory: 0-1 collide twice, 0-2 once; 3 and 4 touch nothing.
"""

import json

import pytest
from release_factory import DIALECTS, REFER, annotation, collision, removal

from videothinker.curate.datasets.clevrer.annotations import decode_annotation
from videothinker.curate.datasets.clevrer.program import ProgramError
from videothinker.curate.datasets.clevrer.resolve import resolve_case
from videothinker.observers.log import Case, answer, any_option, correct_option, oracle
from videothinker.records import Category, Scene

OBS, INF = Category.OBSERVATIONAL, Category.INFERENTIAL


def scene() -> Scene:
    decoded = decode_annotation(json.dumps(annotation(7)).encode(), "annotation_00007.json")
    assert isinstance(decoded, Scene)
    return decoded


# removed, negated, options, gold -> any-option, correct-option, oracle, observer
BY_HAND = {
    "the seen collision stays": (2, False, [(0, 1), (0, 3)], "A", OBS, OBS, OBS, "A"),
    "the same question, negated": (2, True, [(0, 1), (0, 3)], "B", OBS, OBS, OBS, "B"),
    # 0-2 was seen but goes with 2; 1-3 is new, so a looker misses it
    "only the removed object's collision was seen": (2, False, [(0, 2), (1, 3)], "B", OBS, INF, INF, ""),
    "and negated: both options look as if they will not happen": (2, True, [(0, 2), (1, 3)], "A", OBS, INF, INF, "AB"),
    # 0-1 was seen, but without 2 it no longer happens: nothing is correct
    "seen, prevented, none correct": (2, False, [(0, 1), (1, 3)], "", OBS, INF, INF, "A"),
    "seen, prevented, negated: all correct": (2, True, [(0, 1), (1, 3)], "AB", OBS, INF, INF, "B"),
    "nothing seen, none correct": (2, False, [(1, 3), (3, 4)], "", INF, INF, OBS, ""),
    "nothing seen, something new": (2, False, [(1, 3), (3, 4)], "B", INF, INF, INF, ""),
    "one stays, one is new": (2, False, [(0, 1), (1, 4), (3, 4)], "AC", OBS, OBS, INF, "A"),
    "one stays, one goes with the object": (1, False, [(0, 1), (0, 2)], "B", OBS, OBS, OBS, "B"),
    "all options name the removed object": (2, False, [(0, 2), (2, 3)], "", OBS, INF, OBS, ""),
    "one option, named in the other order": (3, False, [(1, 0)], "A", OBS, OBS, OBS, "A"),
}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", BY_HAND)
def test_a_case_worked_out_by_hand(name: str, dialect: str) -> None:
    removed, negated, pairs, gold, *categories, seen = BY_HAND[name]
    case = resolve_case(
        tuple(removal(removed, negated=negated, dialect=dialect).split()),
        tuple(tuple(collision(a, b, dialect).split()) for a, b in pairs),
        tuple(gold),
        scene(),
    )
    assert case == Case(
        tuple((min(pair), max(pair)) for pair in pairs), tuple(gold), removed, negated, frozenset({(0, 1), (0, 2)})
    )
    assert [any_option(case).category, correct_option(case).category, oracle(case).category] == categories
    assert answer(case) == tuple(seen)


@pytest.mark.parametrize(
    ("question", "options", "reason"),
    [
        (removal(2), [f"all_events {REFER[0]} filter_in unique"], "option A: is about 'in', and the annotation"),
        (removal(2), [collision(0, 1), f"all_events {REFER[0]} filter_out unique"], "option B: is about 'out'"),
        (removal(2), [REFER[1]], "option A: is about 'presence'"),
        (removal(2), [collision(0, 1), collision(3, 3)], "option B: 'green cube' and 'green cube' are the same object"),
        ("all_events objects cube filter_shape unique filter_counterfact belong_to", [collision(0, 1)],
         "question program: 'cube' fits 2 objects (object_id 0, 3)"),
        ("all_events objects cyan filter_color unique filter_counterfact belong_to", [collision(0, 1)],
         "question program: 'cyan object' fits no object"),
        (removal(2), [collision(0, 1).replace("gray", "red")], "option A: 'red object' fits 2 objects (object_id 1, 4)"),
        (removal(2), [collision(0, 1).replace("sphere", "cone")], "option A: token 9 'cone' is unknown"),
    ],
)  # fmt: skip
def test_what_cannot_be_resolved_is_refused_with_its_place(question: str, options: list[str], reason: str) -> None:
    with pytest.raises(ProgramError) as error:
        resolve_case(tuple(question.split()), tuple(tuple(option.split()) for option in options), (), scene())
    assert reason in str(error.value)
