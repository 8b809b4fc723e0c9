"""Which prompts begin with the same tokens about the same clip, so that this beginning has to go through the model only once.

Questions about one clip begin alike: the system's words, all tokens of the clip, and often the words before what each asks. The
keys and values of a token depend on what stands before it alone, so those of the beginning are the same for all of them.
"""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

Tokens = np.ndarray
"""The tokens of one prompt, (n,) integers."""


class Prefix(NamedTuple):
    """The beginning that some prompts share."""

    n_tokens: int
    """Of the beginning: at least the clip's last token, and always less than each prompt has, for its last token has to go
    through the model behind it."""
    members: list[int]
    """Which prompts share it, in their order; one alone has all of its tokens but the last to itself."""


def shared_prefixes(prompts: Sequence[Tokens], clips: Sequence[Hashable], *seen: int) -> list[Prefix]:
    """Every prompt in exactly one `Prefix`, in the order in which their clips first appear.

    prompts: of two tokens or more. clips: what each one is about; prompts about equal ones may share. Prompts that differ
    before the last token of their clip or image share nothing. seen: the tokens that stand for these.
    """
    about: dict[Hashable, list[int]] = {}
    for i, clip in enumerate(clips):
        about.setdefault(clip, []).append(i)
    return [prefix for members in about.values() for prefix in _of_one_clip(prompts, members, seen)]


def _of_one_clip(prompts: Sequence[Tokens], members: list[int], seen: Sequence[int]) -> list[Prefix]:
    first = prompts[members[0]]
    n = min(len(prompts[i]) for i in members) - 1
    for i in members[1:]:
        differs = first[:n] != prompts[i][:n]
        n = int(differs.argmax()) if differs.any() else n
    if len(members) == 1 or not np.isin(first[n:], seen).any():
        return [Prefix(n, members)]
    return [Prefix(len(prompts[i]) - 1, [i]) for i in members]
