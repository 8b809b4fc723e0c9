"""The one exception for what a user got wrong.

`VtError` is printed by the command line as a single line, without traceback, and ends with exit code 2. Everything else that
is raised is a bug of ours and keeps its traceback (exit code 1).
"""

import re


class VtError(Exception):
    """The user's input cannot be used as it is.

    The message is one line: what was found, where (file, scene, field), what was expected, what to do. It may quote files from
    outside: characters that steer a terminal are written as escapes, and very long words are cut.
    """

    def __init__(self, message: str) -> None:
        super().__init__(_LONG.sub(r"\1...\2", _STEERING.sub(lambda found: ascii(found[0])[1:-1], message)))


_STEERING = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_LONG = re.compile(r"(\S{300})\S{400,}(\S{100})")


EXTRAS = {
    **dict.fromkeys(("accelerate", "decord", "safetensors", "torch", "torchvision", "transformers"), "models"),
    **dict.fromkeys(("datasets", "peft", "tensorboard", "trl"), "train"),
}
"""Optional packages and the extra that installs them; see pyproject.toml."""


def missing_extra(package: str, extra: str, purpose: str) -> VtError:
    """The error for an optional package that is not installed; it names what needs the package and how to install it."""
    return VtError(f"{purpose} needs the package '{package}', which is not installed: pip install 'videothinker[{extra}]'")
