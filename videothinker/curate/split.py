"""Which split a question belongs to, and which questions of "train" make the training set.

A hash decides, and not a stream of random numbers, so the result depends on the seed and the item alone: files that come or go
move no other item, and neither the order of reading nor the number of workers matters.
"""

import hashlib
from collections.abc import Mapping

from videothinker.curated import TRAIN
from videothinker.errors import VtError
from videothinker.records import Category

DEV = "dev"


def fraction(seed: int, key: str) -> float:
    """A number in [0, 1) that looks random and is the same every time for a seed and a key."""
    # 8 bytes of the hash are a whole number below 2^64.
    return int.from_bytes(hashlib.sha256(f"{seed}:{key}".encode()).digest()[:8]) / 2**64


def split_of(key: str, seed: int, dev_share: float) -> str:
    """ "dev" for about `dev_share` (0 <= share < 1) of all keys, and otherwise "train". Questions of one key stay together."""
    return DEV if fraction(seed, key) < dev_share else TRAIN


def training_set(
    categories: Mapping[str, Category], seed: int, *, size: int | None = None, observational_share: float | None = None
) -> frozenset[str]:
    """The question ids that make the training set: the first ones in the order of a hash of seed and id.

    categories: question_id -> category, of all questions in "train".
    size: number of questions wanted (> 0); None takes as many as there are, or as the share allows.
    observational_share: wanted share of observational questions, 0 to 1; None takes questions of both categories as they come.

    Raises:
        VtError: there are not enough questions (of one category); the message says which size is possible.
    """
    order = sorted(categories, key=lambda question_id: (fraction(seed, f"question {question_id}"), question_id))
    if observational_share is None:
        if size is not None and size > len(order):
            raise VtError(
                f"--train-size {size}: the train split has {len(order)} labelled questions; at most --train-size {len(order)}"
            )
        return frozenset(order[:size])

    observational = [question_id for question_id in order if categories[question_id] is Category.OBSERVATIONAL]
    inferential = [question_id for question_id in order if categories[question_id] is Category.INFERENTIAL]
    largest = max(
        n for n in range(len(order) + 1) if _fits(n, observational_share, len(observational), len(inferential))
    )  # a few thousand cheap steps, which are plainer than the closed form with its rounding
    wanted = largest if size is None else size
    if wanted > largest or wanted == 0:
        found = f"the train split has {len(observational)} observational and {len(inferential)} inferential questions"
        possible = f"at most --train-size {largest}" if largest else "choose another share"
        asked = "" if size is None else f"--train-size {size} "
        raise VtError(f"{asked}--observational-share {observational_share:g}: {found}; {possible}")
    n_observational = n_of_share(wanted, observational_share)
    return frozenset(observational[:n_observational] + inferential[: wanted - n_observational])


def n_of_share(n: int, share: float) -> int:
    """`share` of `n`, rounded half up."""
    return int(n * share + 0.5)


def _fits(n: int, share: float, n_observational: int, n_inferential: int) -> bool:
    wanted = n_of_share(n, share)
    return wanted <= n_observational and n - wanted <= n_inferential
