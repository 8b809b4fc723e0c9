"""When a reply in the style "twice" may end behind its first answer: where the model was sure of it.

The confidence of a first answer is the geometric mean of the probabilities of the tokens that hold it, exp of their mean
log-probability. Only tokens with a character of the answer count: commas, blanks and braces between two letters are nearly
certain, and with them "A, C" would look surer than it is. Which tokens those are is told by where they lie in the text, since
a token may be "{A" or "AC".

The first answer stands in the first box that is closed before any tag of thinking; the sentence that stands in place of an
answer is none. Whatever comes later cannot change what was found, so a reply may be looked at while it is written, as often or
as seldom as an engine likes.

Source: VideoAuto-R1 (arXiv 2601.05175), section on inference. Its evaluator writes all of every reply and chooses afterwards;
here what is not needed is not written.
"""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from videothinker.answers.twice import answer_at_once, is_past_first
from videothinker.diagnose.reply import Reply

LOOKS_AT = ["}"]
"""Where a reply that is written elsewhere, by vLLM or a server, is paused to be looked at: no first answer ends otherwise."""

N_LOOKS = 4
"""Times that such a reply is paused at most. A box that holds more braces than that is not stopped behind while it is written;
what was written in vain is cut off all the same."""

Decode = Callable[[Sequence[Any]], str]
"""The text of some tokens, without special ones. What a token is, a number or a server's bytes, is up to whoever decodes."""


class FirstAnswer(NamedTuple):
    """The answer that a reply gives before any thinking."""

    n_tokens: int
    """Tokens up to the one that closes its box, which is included."""
    confidence: float
    """exp of the mean log-probability of the tokens that hold the answer, in (0, 1]."""


def first_answer(text: str, ends: Sequence[int], logprobs: Sequence[float]) -> FirstAnswer | None:
    """The first answer of a reply, or of what has been written of it.

    text: without special tokens. ends: for each token where its text ends, in characters of `text`. logprobs: each one's
    log-probability in nats. None without a closed box before any thinking, and where it holds the fallback sentence or nothing
    that could be an answer.

    >>> text, ends = "\\\\boxed{A, C}", [7, 8, 9, 10, 11, 12]              # \\boxed { A , _C }
    >>> first_answer(text, ends, [0.0, -0.1, math.log(0.9), 0.0, math.log(0.4), 0.0]).confidence   # sqrt(0.9 * 0.4)
    0.6
    """
    box = answer_at_once(text)
    if box is None:
        return None
    starts = [0, *ends[:-1]]
    places = [box.inside + place for place in _answer_characters(text[box.inside : box.closes])]
    held = [
        logprob
        for start, end, logprob in zip(starts, ends, logprobs, strict=True)
        if any(start <= place < end for place in places)
    ]
    if not held:
        return None
    n_tokens = next(n for n, end in enumerate(ends, start=1) if end >= box.end)
    return FirstAnswer(n_tokens, math.exp(sum(held) / len(held)))


_WORD = re.compile(r"\\[a-zA-Z]+|(?P<word>[^\W_]+)")
_LETTER = re.compile(r"[A-Z]")


def _answer_characters(held: str) -> list[int]:
    """Where the answer's characters stand in what a box holds, commands of LaTeX aside.

    Where capitals stand alone, as in "A, C" or "(B) the cube", they are the answer, else numbers, as in "12.5 to 20 s", and
    otherwise all words are.
    """
    words = [found for found in _WORD.finditer(held) if found["word"]]
    letters = [word for word in words if _LETTER.fullmatch(word["word"])]
    numbers = [word for word in words if word["word"][0].isdigit()]
    return [place for word in letters or numbers or words for place in range(word.start(), word.end())]


class Gate:
    """Finds the first answers in the replies of one tokenizer, and ends those that are sure enough.

    decode: the text of some tokens, without special ones. at: confidence from which a reply ends right behind its first answer,
    0 to 1; None ends none.
    """

    def __init__(self, decode: Decode, at: float | None) -> None:
        self.decode, self.at = decode, at

    def first(self, tokens: Sequence[Any], logprobs: Sequence[float]) -> FirstAnswer | None:
        """The first answer in a reply's tokens."""
        if answer_at_once(self.decode(tokens)) is None:
            return None
        ends: list[int] = []
        for n in range(1, len(tokens) + 1):
            text = self.decode(tokens[:n])
            ends.append(len(text))
            if is_past_first(text):
                return first_answer(text, ends, logprobs[:n])
        return None

    def sure(self, tokens: Sequence[Any], logprobs: Sequence[float]) -> FirstAnswer | None:
        """The first answer in a reply's tokens, if the reply ends behind it."""
        found = None if self.at is None else self.first(tokens, logprobs)
        return found if found is not None and self.at is not None and found.confidence >= self.at else None

    def cut(self, reply: Reply) -> Reply:
        """The reply up to where this gate ends it; what was written beyond is cut off."""
        found = self.sure(reply.tokens, reply.logprobs)
        if found is None:
            return reply
        n = found.n_tokens
        return reply._replace(tokens=reply.tokens[:n], logprobs=reply.logprobs[:n], cut=False, stopped=True)


class Watch:
    """Looks at a batch of `n_rows` replies while they are written, and says which of them end by the gate."""

    def __init__(self, gate: Gate, n_rows: int) -> None:
        self._gate = gate
        self._open = list(range(n_rows))
        self._stopped = [False] * n_rows

    @property
    def done(self) -> bool:
        """Whether it is decided of every reply, so that no further look is needed."""
        return not self._open

    def look(self, tokens: Sequence[Sequence[int]], logprobs: Sequence[Sequence[float]]) -> list[bool]:
        """Which replies end. tokens, logprobs: all that was written of each so far."""
        for row in self._open:
            self._stopped[row] = self._gate.sure(tokens[row], logprobs[row]) is not None
        self._open = [row for row in self._open if not is_past_first(self._gate.decode(tokens[row]))]
        return list(self._stopped)
