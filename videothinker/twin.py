"""A question's factual twin: the same options, asked of the clip as it is instead of a clip in which something is otherwise.

    >>> twin("Which event will not happen if the red cube is removed?")
    Twin(text='Which event does not happen in the video?', why_not=None)

Whoever answers the twin with the question's own answer did not need the hypothetical. A twin is never guessed: only what a
clause says beyond doubt is rewritten, and everything else has no twin, with a reason that is counted. CLEVRER's templates, and
the generated world's, are rewritten without exception.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

NO_PREMISE = "it supposes nothing"
OTHER_CLAUSE = "what it asks cannot surely be put as a fact"
SEVERAL_PREMISES = "it supposes several things"
OPTIONS_SUPPOSE = "its options speak of what would be"
NO_TEXT = "the column has no text for it"


class Twin(NamedTuple):
    """A twin's text, or why there is none."""

    text: str | None
    why_not: str | None


_PREMISE = re.compile(
    r"\b(?:if|unless|without|suppose|supposing|assume|assuming|imagine|provided that|in case|instead of|would|had)\b",
    re.IGNORECASE,
)
"""Words that may suppose something. Where none stands there is no hypothetical; where one does there may be none either."""
_SECOND = re.compile(r"\b(?:if|unless|without|suppose|assuming|imagine|would)\b", re.IGNORECASE)
"""Words in a premise that suppose something more."""
_OPENERS = r"(?:if|suppose|supposing|assume|assuming|imagine|without)"
_CLAUSE = r"(?P<premise>[^?.!;:,]{1,200})"
_ASKED = (
    r"(?P<head>what|which event|which of (?:the following|these)(?: events?)?|which of the events)"
    r" (?:will|would)(?P<no> not|n't)?(?: have)? (?:happen(?:ed)?|occur(?:red)?|take place|taken place)"
    r"(?P<to> to the [\w' -]{1,60}?)?"
)
_FORMS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"{_ASKED},? (?P<opener>if|without) {_CLAUSE}\?",
        rf"(?P<opener>{_OPENERS})(?: that)? {_CLAUSE}[,.] ?(?:then )?{_ASKED}(?: then| next)?\?",
        rf"(?P<opener>had) {_CLAUSE}, {_ASKED}\?",
    )
)
_OF_OPTIONS = re.compile(r"\b(?:would|will|could|might|if|without)\b", re.IGNORECASE)


def twin(text: str, options: Sequence[str] = ()) -> Twin:
    """The factual twin of a question with these options, if it surely has one."""
    plain = " ".join(text.split())
    if _PREMISE.search(plain) is None:
        return Twin(None, NO_PREMISE)
    found = next((match for form in _FORMS if (match := form.fullmatch(plain))), None)
    if found is None:
        return Twin(None, OTHER_CLAUSE)
    if _SECOND.search(found["premise"]):
        return Twin(None, SEVERAL_PREMISES)
    if any(_OF_OPTIONS.search(option) for option in options):
        return Twin(None, OPTIONS_SUPPOSE)
    verb = "does not happen" if found["no"] else "happens"
    head = found["head"][0].upper() + found["head"][1:].lower()
    return Twin(f"{head} {verb}{found['to'] or ''} in the video?", None)
