"""Built-in solvers: answers that need neither clip nor weights, to compare a checkpoint's accuracy with.

    solver:observer   what was seen, minus events with the removed object: the ceiling of the shortcut
    solver:gold       the right answer, which checks the pipeline itself
    solver:prior      blind: the most frequent answer of the train split for that form and number of options
    solver:random     each option with probability 1/2
    solver:none       "none of them", always

They reply in text, as a checkpoint does, so that their answers go through the same reading and grading.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from videothinker import mcq
from videothinker.curated import Curated
from videothinker.diagnose.answerer import Answer
from videothinker.errors import VtError
from videothinker.records import CuratedQuestion

PREFIX = "solver:"
NAMES = ("observer", "gold", "prior", "random", "none")
TRAIN = "train"
"""The split that `solver:prior` counts answers in."""


class Solver(NamedTuple):
    """An `Answerer` that computes its letters from the question's record."""

    name: str
    choose: Callable[[CuratedQuestion], Sequence[str]]
    facts: dict[str, Any]

    def answer(self, questions: Sequence[CuratedQuestion]) -> Iterator[Answer]:
        """One reply per question, in order."""
        for question in questions:
            yield Answer(question_id=question.question_id, reply=mcq.solution(self.choose(question)))

    def describe(self) -> dict[str, Any]:
        """The solver's name and what it was made from; no clip is fed."""
        return {"solver": self.name, **self.facts}


def open_solver(ref: str, *, curated: Curated, seed: int) -> Solver:
    """The built-in solver that `ref` ("solver:NAME") names; `seed` is that of `random`.

    Raises:
        VtError: no such solver, or `prior` without a train split to count in.
    """
    name = ref.removeprefix(PREFIX)
    match name:
        case "observer":
            return Solver(name, lambda question: question.observer, {})
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
            return Solver(name, lambda question: random_letters(question, seed), {"seed": seed})
        case "none":
            return Solver(name, lambda _: (), {})
    raise VtError(f"{ref}: is not a built-in solver; they are {', '.join(PREFIX + each for each in NAMES)}")


def prior(train: Sequence[CuratedQuestion]) -> Callable[[CuratedQuestion], tuple[str, ...]]:
    """What one would answer blind: the most frequent answer set in `train` among questions of the same form.

    The form is "will" or "will not" and the number of options. A form that `train` lacks takes the number of options alone, and
    one whose number it lacks too answers none. Of equally frequent sets the one with fewer, then earlier letters is taken.
    """
    by_form: dict[tuple[bool | None, int], Counter[tuple[str, ...]]] = {}
    for question in train:
        for form in ((question.negated, len(question.options)), (None, len(question.options))):
            by_form.setdefault(form, Counter())[question.gold] += 1
    best = {
        form: min(counts.items(), key=lambda item: (-item[1], len(item[0]), item[0]))[0] for form, counts in by_form.items()
    }

    def choose(question: CuratedQuestion) -> tuple[str, ...]:
        n_options = len(question.options)
        return best.get((question.negated, n_options), best.get((None, n_options), ()))

    return choose


def random_letters(question: CuratedQuestion, seed: int) -> tuple[str, ...]:
    """Each option with probability 1/2, by hash of seed and question: the same whichever questions are asked beside it."""
    digest = hashlib.sha256(f"{seed}:{question.question_id}".encode()).digest()
    bits = int.from_bytes(digest[:4])
    return tuple(letter for i, letter in enumerate(mcq.LETTERS[: len(question.options)]) if bits >> i & 1)
