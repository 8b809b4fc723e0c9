"""Which questions a run was asked: their hash is that of earlier versions, and what does not belong together is refused."""

from pathlib import Path

import msgspec
import pytest
from curated_factory import a_choice, a_prediction, a_question, labels_of, questions_of, write_curated

from videothinker.curated import NO_LABELS
from videothinker.diagnose import files
from videothinker.errors import VtError
from videothinker.records import Clip, Form, Rule

ASKED = [
    a_question("3:1", n_options=2, gold="", observer="AB", negated=True),
    a_question("3:2", n_options=3, gold="AC", observer=""),
]


def test_the_hash_of_clevrers_questions_is_that_of_earlier_versions(tmp_path: Path) -> None:
    """SHA-256 of this JSON, so that runs from before there were other data sets can be resumed and scored again:

    [["3:1","Without the brown cube, what will not happen?",["A. The gray cube and the metal sphere collide","B. The brown cube
    and the metal sphere collide"],"video_00003.mp4",[],["A","B"]],["3:2","Without the green cube, what will happen?",["A. The
    gray cube and the metal sphere collide","B. The brown cube and the metal sphere collide","C. The green cube and the metal
    sphere collide"],"video_00003.mp4",["A","C"],[]]]
    """
    before = "de9265f143c5a1a70c295c30f612c8c046c76c79718ea9eb86fb819ee9773a12"
    assert files.data_hash(questions_of(ASKED), labels_of(ASKED)) == before
    for rule in Rule:
        folder = write_curated(tmp_path / rule, {"dev": ASKED}, rule=rule)
        assert files.data_hash(folder.questions("dev"), folder.labels) == before


def test_the_hash_is_of_what_a_reply_and_its_grade_depend_on() -> None:
    question = a_choice("1")
    changed = [
        question,
        msgspec.structs.replace(question, question_id="2"),
        msgspec.structs.replace(question, text="What else?"),
        msgspec.structs.replace(question, options=("x", "y", "z", "w")),
        msgspec.structs.replace(question, gold=("B",)),
        msgspec.structs.replace(question, form=Form.LETTERS),
        *(
            msgspec.structs.replace(question, clip=clip)
            for clip in (
                Clip(path="2.mp4"),
                Clip(path="1.mp4", start=1.0),
                Clip(path="1.mp4", end=1.0),
                Clip(path="1.mp4", fps=1.0),
            )
        ),
    ]
    assert len({files.data_hash([each], NO_LABELS) for each in changed}) == len(changed)
    for same in ({"group": "other"}, {"facets": {"task": "order"}}, {"source": "other"}):
        other = msgspec.structs.replace(question, **same)
        assert files.data_hash([other], NO_LABELS) == files.data_hash([question], NO_LABELS)


def test_an_observer_without_an_answer_is_not_one_who_answers_none() -> None:
    """Both in the hash and where predictions are matched: the one is null, the other is the empty list."""
    asked = [a_question("0:0", gold="A", observer="")]
    (question,), (row,) = questions_of(asked), [a_prediction(asked[0], "A")]
    assert files.data_hash([question], labels_of(asked)) != files.data_hash([question], NO_LABELS)
    assert files.match([question], labels_of(asked), {"0:0": row}, "runs/x") == {"0:0": row}
    with pytest.raises(VtError, match="question 0:0 has another gold or observer's answer"):
        files.match([question], NO_LABELS, {"0:0": row}, "runs/x")
    unlabelled = msgspec.structs.replace(row, observer=None)
    assert files.match([question], NO_LABELS, {"0:0": unlabelled}, "runs/x") == {"0:0": unlabelled}
