"""How other evaluators ask and read, by name: prompt, frames and pixels, decoding, and the reading of replies.

To add a protocol, add a module of its name (with "_" for "-") that has a `PROTOCOL`, and a line to `PROTOCOLS`. `base` holds
the records, and the readings that several share lie in `styles`. docs/protocols.md has the table. This module itself loads
nothing, so that settings and `--help` can read the names.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from videothinker.errors import VtError

if TYPE_CHECKING:
    from videothinker.diagnose.protocols.base import Protocol

OURS = "ours"
PROTOCOLS = {
    OURS: "ours, the same prompt in training and in evaluation",
    "official": "each benchmark's own evaluator",
    "videothinker": "VideoThinker's eval_bench.py",
    "video-r1": "Video-R1's eval_bench.py",
    "videoauto-r1": "VideoAuto-R1's tasks, answer twice",
    "lmms-eval": "lmms-eval's tasks",
    "vlmevalkit": "VLMEvalKit's data sets, without a judge",
}
"""Help for every protocol that `--protocol` may name, in the order in which reports show them."""


def find(name: str) -> "Protocol":
    """The protocol of that name.

    Raises:
        VtError: there is none.
    """
    if name not in PROTOCOLS:
        raise VtError(f"--protocol {name}: is none; expected one of {', '.join(PROTOCOLS)}")
    protocol: Protocol = import_module(f"{__name__}.{name.replace('-', '_')}").PROTOCOL
    return protocol


def all_protocols() -> "list[Protocol]":
    """Every protocol, in the order of `PROTOCOLS`."""
    return [find(name) for name in PROTOCOLS]
