"""Text from outside (a server's words, file names, replies) made harmless to a terminal."""

import re

_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor, clearing
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"  # OSC and other strings: title, clipboard
    r"|\x1b[ -/]*[0-~]"  # two characters and charset choices
)
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 but tab and newline, DEL, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks, embeddings, overrides and isolates of writing direction
    "\u2028\u2029\ufeff\ud800-\udfff]"  # other line ends, a mark without width, halves of surrogate pairs
)


_LONG = re.compile(r"(\S{300})\S{400,}(\S{100})")


def printable(text: str) -> str:
    """The text without what a terminal would act on: escape sequences, control characters and changes of direction.

    Tabs and newlines stay. Text that has been through it once comes through it unchanged.
    """
    return _CONTROL.sub("", _SEQUENCE.sub("", text))


def escaped(text: str) -> str:
    """The text with escapes such as \\x1b in place of those characters, so that two strange names stay two."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def shortened(text: str) -> str:
    """The text with "..." in the middle of words of 800 characters and more, which a terminal could not show readably."""
    return _LONG.sub(r"\1...\2", text)
