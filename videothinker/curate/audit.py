"""Which labelled questions a person is to judge: a draw by hash, with equally many of each category as far as there are any."""

import hashlib
from collections.abc import Mapping

from videothinker.records import Category, Label


def drawn(labels: Mapping[str, Label], n: int, seed: int) -> list[Label]:
    """`n` labels, or all if there are fewer, in an order that tells nothing of their category.

    Categories are drawn from in turn, so a rare one is judged often enough; the same labels and seed give the same draw.
    """
    waiting = {
        kind: sorted((one for one in labels.values() if one.category is kind), key=lambda one: _hash(one, seed))
        for kind in Category
    }
    found: list[Label] = []
    while len(found) < n and any(waiting.values()):
        for rest in waiting.values():
            if rest and len(found) < n:
                found.append(rest.pop(0))
    return sorted(found, key=lambda one: _hash(one, seed))


def _hash(label: Label, seed: int) -> bytes:
    return hashlib.sha256(f"audit:{seed}:{label.question_id}".encode()).digest()
