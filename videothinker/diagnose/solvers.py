"""Built-in solvers: answers that need neither clip nor weights, to compare a checkpoint's accuracy with.

    solver:observer   what the set's own observer answers: the ceiling of the shortcut
    solver:gold       the right answer, which checks the pipeline itself
    solver:prior      blind: the most frequent answer of the train split for that form and number of options
    solver:random     a uniformly random answer of the question's form
    solver:none       "none of them", always

They reply in text, as a checkpoint does, so that their answers go through the same reading and grading.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from videothinker import answers
from videothinker.curated import TRAIN, Curated, Labels
from videothinker.diagnose.answerer import RawReply
from videothinker.errors import VtError
from videothinker.records import Form, Question

PREFIX = "solver:"
NAMES = ("observer", "gold", "prior", "random", "none")
NONE = answers.FORMS[Form.LETTERS].solution(())
"""The reply that no option is correct, whatever the form; to a single choice it is no answer."""


class Solver(NamedTuple):
    """An `Answerer` that computes its reply from the question's record."""

    name: str
    choose: Callable[[Question], tuple[str, ...] | None]
    """Gives the answer to a question; None where there is none to give, and the solver replies "none"."""
    facts: dict[str, Any]

    def answer(self, questions: Sequence[Question]) -> Iterator[RawReply]:
        """One reply per question, in order."""
        for question in questions:
            chosen = self.choose(question)
            reply = answers.form_of(question).solution(chosen) if chosen else NONE
            yield RawReply(question_id=question.question_id, reply=reply)

    def describe(self) -> dict[str, Any]:
        """The solver's name and what it was made from; no clip is fed."""
        return {"solver": self.name, **self.facts}


def open_solver(ref: str, *, curated: Curated, seed: int) -> Solver:
    """The built-in solver that `ref` ("solver:NAME") names. seed: that of `random`.

    Raises:
        VtError: there is no such solver, `observer` without labels, or `prior` without a train split to count in.
    """
    name = ref.removeprefix(PREFIX)
    match name:
        case "observer":
            if curated.labels.own is None:
                raise VtError(f"{ref}: {curated.folder} has no labels of its own, so no observer; leave it out")
            return observer(curated.labels)
        case "gold":
            return Solver(name, lambda question: question.gold, {})
        case "prior":
            if TRAIN not in curated.manifest.splits:
                raise VtError(
                    f"{ref}: counts answers in the split '{TRAIN}', which {curated.folder} does not have; leave it out"
                )
            train = curated.questions(TRAIN)
            return Solver(name, prior(train), {"n_train_questions": len(train)})
        case "random":
            return Solver(name, lambda question: random_answer(question, seed), {"seed": seed})
        case "none":
            return Solver(name, lambda _: None, {})
    raise VtError(f"{ref}: is not a built-in solver; they are {', '.join(PREFIX + each for each in NAMES)}")


def observer(labels: Labels) -> Solver:
    """Answers as the observer of the own label set does."""
    return Solver("observer", lambda question: labels.observer(question.question_id), {})


def prior(train: Sequence[Question]) -> Callable[[Question], tuple[str, ...]]:
    """What one would answer blind: the most frequent answer in `train` among questions that look alike before they are read.

    Alike are questions of the same form, number of options and facets that are said in the question, such as CLEVRER's "will"
    or "will not". A question that looks like none in `train` takes form and number of options alone, and one that lacks those
    too answers none. Of equally frequent answers the one with fewer, then earlier letters is taken.
    """
    counts: dict[tuple[Any, ...], Counter[tuple[str, ...]]] = {}
    for question in train:
        for look in _looks(question):
            counts.setdefault(look, Counter())[question.gold] += 1
    best = {look: min(found.items(), key=lambda item: (-item[1], len(item[0]), item[0]))[0] for look, found in counts.items()}

    def choose(question: Question) -> tuple[str, ...]:
        return next((best[look] for look in _looks(question) if look in best), ())

    return choose


def _looks(question: Question) -> list[tuple[Any, ...]]:
    """What a question looks like before it is read, from the closest look to the roughest."""
    rough = (question.form, len(question.options))
    return [(*rough, question.facets.get("polarity")), rough]


def random_answer(question: Question, seed: int) -> tuple[str, ...]:
    """A uniformly random answer, by hash of seed and question: the same whichever questions are asked beside it."""
    digest = hashlib.sha256(f"{seed}:{question.question_id}".encode()).digest()
    # Sets of letters use the low 32 bits, so that draws of earlier versions stay as they were. A single choice is a remainder,
    # which only many bits make nearly even.
    bits = int.from_bytes(digest[:4]) | int.from_bytes(digest[8:16]) << 32
    return answers.form_of(question).random(len(question.options), bits)
