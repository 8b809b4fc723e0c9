"""Lessons about one clip laid into one sequence behind it, so that the clip is seen once for all of them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from videothinker.pretrain.lessons import Lessons
from videothinker.pretrain.scenes import Bools, Ints


class PackedLessons(NamedTuple):
    """B sequences of L tokens: the clip, and behind it lessons that do not see one another."""

    ids: Ints
    """(B, L) uint16."""
    lesson: Ints
    """(B, L) int8: 0 in the shared beginning, 1 + k in lesson k, -1 behind the last lesson."""
    offset: Ints
    """(B, L) uint16: the token's place within its lesson."""
    is_reply: Bools
    """(B, L): whether it is a token to be predicted, from the place before it."""

    def take(self, chosen: Any) -> "PackedLessons":
        """The chosen sequences: an index of the first axes."""
        return PackedLessons(self.ids[chosen], self.lesson[chosen], self.offset[chosen], self.is_reply[chosen])

    def reshape(self, *shape: int) -> "PackedLessons":
        """The sequences arranged along other axes; L stays the last one."""
        return PackedLessons(*(field.reshape(*shape, field.shape[-1]) for field in self))  # type: ignore[arg-type]


def pack(lessons: Sequence[Lessons], beginning: Ints, length: int, pad: int) -> PackedLessons:
    """Put lessons behind the shared `beginning` (n,) in their order, until one would end beyond `length` tokens.

    lessons: several kinds, each with any number of lessons about each of the same B scenes.
    """
    n_rows, n = len(lessons[0].tokens), len(beginning)
    packed = PackedLessons(
        np.full((n_rows, length), pad, np.uint16),
        np.full((n_rows, length), -1, np.int8),
        np.zeros((n_rows, length), np.uint16),
        np.zeros((n_rows, length), np.bool_),
    )
    packed.ids[:, :n], packed.lesson[:, :n] = beginning, 0
    ends, n_lessons = np.full(n_rows, n), 0  # where each sequence ends so far, and how many lessons came before this kind
    for tokens, there, is_reply in lessons:
        n_tokens = there.sum(-1)
        stops = ends[:, None] + np.cumsum(n_tokens, axis=1)
        kept = there & (stops <= length)[..., None]
        offset = np.cumsum(there, axis=-1) - 1  # counts tokens and skips gaps
        row, number, _ = np.nonzero(kept)
        # Places as in flat arrays of all sequences: the lesson's first place (stops - n_tokens) plus the offset within it.
        at = row * length + ((stops - n_tokens)[..., None] + offset)[kept]
        packed.ids.flat[at], packed.lesson.flat[at] = tokens[kept], 1 + n_lessons + number
        packed.offset.flat[at], packed.is_reply.flat[at] = offset[kept], is_reply[kept]
        # Once a lesson has not fitted, none behind it does: stops only grow, also over what was left out.
        ends, n_lessons = np.minimum(stops[:, -1], length), n_lessons + tokens.shape[1]
    return packed
