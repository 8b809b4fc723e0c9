"""The one exception for what a user got wrong.

`VtError` is printed by the command line as a single line, without traceback, and ends with exit code 2. Everything else that
is raised is a bug of ours and keeps its traceback (exit code 1).
"""

from videothinker.printable import escaped, shortened


class VtError(Exception):
    """The user's input cannot be used as it is.

    The message is one line: what was found, where (file, scene, field), what was expected, what to do. Names and words from
    outside may stand in it as they came: what a terminal would act on is written as escapes here, and very long words are cut.
    """

    def __init__(self, message: str) -> None:
        super().__init__(shortened(escaped(message)))


EXTRAS = {
    **dict.fromkeys(("accelerate", "decord", "safetensors", "torch", "torchvision", "transformers"), "models"),
    **dict.fromkeys(("datasets", "peft", "tensorboard", "trl"), "train"),
}
"""Optional packages and the extra that installs them; see pyproject.toml."""


def install_hint(extra: str) -> str:
    """How to install an extra. The project is on no package index, so it is a checkout or a wheel that is installed."""
    return f"pip install -e '.[{extra}]' in a checkout, or pip install 'WHEEL[{extra}]' with the path of the wheel"


def missing_extra(package: str, extra: str, purpose: str) -> VtError:
    """The error for an optional package that is not installed; it names what needs the package and how to install it."""
    return VtError(f"{purpose} needs the package '{package}', which is not installed: {install_hint(extra)}")
