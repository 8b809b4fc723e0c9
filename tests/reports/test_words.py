"""Scenes and labels in words, on a scene worked out by hand."""

import pytest

from videothinker import evidence
from videothinker.curated import Labels
from videothinker.records import Category, Clip, Collision, Label, LabelSet, Question, Rule, Scene, SceneObject, label
from videothinker.reports import words

SCENE = Scene(
    7,
    "video_00007.mp4",
    (
        SceneObject(0, "red", "metal", "cube"),
        SceneObject(1, "red", "rubber", "cube"),
        SceneObject(2, "blue", "rubber", "sphere"),
        SceneObject(3, "gray", "metal", "cylinder"),
    ),
    (Collision(46, (0, 2)), Collision(80, (1, 3)), Collision(99, (0, 2))),
)


def asked(options: tuple[str, ...], gold: str, observer: str, *, removed: int = 1, negated: bool = False) -> words.Explained:
    question = Question(
        question_id="7:0",
        text="Without the red rubber cube, what will happen?",
        options=options,
        clip=Clip(path="v.mp4"),
        gold=tuple(gold),
        group="7",
        facets={"polarity": "will not" if negated else "will"},
        source="CLEVRER",
    )
    seen, needed = Category.OBSERVATIONAL, Category.INFERENTIAL
    kinds = {Rule.ANY_OPTION: seen, Rule.CORRECT_OPTION: needed, Rule.ORACLE: needed}
    return words.Explained(question, SCENE, removed, negated, tuple(observer), kinds)


@pytest.mark.parametrize(
    ("option", "pair"),
    [
        ("The red metal cube and the sphere collide", (0, 2)),
        ("The sphere collides with the red metal cube", (0, 2)),
        ("The gray object collides with the blue rubber sphere", (2, 3)),
        ("The red cube and the sphere collide", None),  # two red cubes
        ("The green cube and the sphere collide", None),  # no such cube
        ("The sphere and the blue object collide", None),  # the same object twice
        ("The sphere enters the scene", None),
    ],
)
def test_an_option_s_objects_are_found_or_given_up(option: str, pair: tuple[int, int] | None) -> None:
    assert evidence.option_pair(option, SCENE) == pair


def test_the_log_says_frame_second_and_objects() -> None:
    assert words.log(SCENE)[0] == "frame 46, 1.84 s: red metal cube hits blue rubber sphere"


def test_a_collision_out_of_view_is_in_the_log_and_not_in_the_film() -> None:
    one = asked(("The red metal cube and the sphere collide", "The cylinder and the red rubber cube collide"), "A", "A")
    hidden = (Collision(46, (0, 2), seen=False), Collision(80, (1, 3), seen=False), Collision(99, (0, 2)))
    one = one._replace(scene=Scene(7, "video_00007.mp4", SCENE.objects, hidden))
    assert words.log(one.scene)[:2] == [
        "frame 46, 1.84 s: red metal cube hits blue rubber sphere, out of view",
        "frame 80, 3.20 s: red rubber cube hits gray metal cylinder, out of view",
    ]
    assert words.seen(one) == ["frame 99", "no"]


def test_an_option_says_when_its_event_was_seen() -> None:
    one = asked(
        (
            "The red metal cube and the sphere collide",  # seen twice: the first time counts
            "The cylinder and the red rubber cube collide",  # seen, but with the removed object
            "The cylinder and the sphere collide",  # not seen
            "The red cube and the sphere collide",  # not certain which cube
        ),
        gold="C",
        observer="A",
    )
    assert words.seen(one) == ["frame 46", "frame 80", "no", "\u2013"]


def test_where_text_and_observer_contradict_each_other_nothing_is_claimed() -> None:
    one = asked(("The red metal cube and the sphere collide",), gold="", observer="")
    assert words.seen(one) == ["\u2013"]
    one = asked(("The cylinder and the sphere collide",), gold="", observer="A")
    assert words.seen(one) == ["yes"]


def test_the_letters_of_a_negated_question_name_what_does_not_happen() -> None:
    one = asked(("x", "y"), gold="B", observer="", negated=True)
    assert words.happens(one, one.question.gold) == [True, False]


def test_each_rule_gives_its_reason() -> None:
    one = asked(("The red metal cube and the sphere collide", "The cylinder and the sphere collide"), gold="B", observer="A")
    assert words.why(one) == {
        Rule.ANY_OPTION: "In the film: the collision of option A (frame 46).",
        Rule.CORRECT_OPTION: "What would happen without the red rubber cube is not in the film.",
        Rule.ORACLE: "Whoever only watched would answer A; the right answer is B.",
    }


def test_only_the_collision_logs_labels_explain_a_question() -> None:
    """Another observer may have labels under a rule of the same name; they lie before or after the log's."""
    one = asked(("The cylinder and the sphere collide",), gold="A", observer="")
    name = one.question.question_id

    def labels(observer: str, rule: str, kind: Category, said: tuple[str, ...]) -> LabelSet:
        row = Label(question_id=name, observer=observer, rule=rule, category=kind, answer=said)
        return LabelSet(observer, rule, {name: row})

    log = [labels(label.LOG, rule, one.categories[rule], ()) for rule in Rule]
    other = labels("one-frame", Rule.ORACLE, Category.OBSERVATIONAL, ("A",))
    for sets in ([other, *log], [*log, other]):
        assert words.explained([one.question], Labels(sets, log[0]), {"7": SCENE}, {name: 1}) == {name: one}
    assert words.explained([one.question], Labels([other], None), {"7": SCENE}, {name: 1}) == {}
