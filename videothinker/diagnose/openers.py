"""What answers for a REF of `vt diagnose`, by the kind of REF: a built-in solver, a server's model, or a checkpoint.

To add a kind, write its opener and add a line to `OPENERS`. Openers import what they need themselves: solvers need no torch.
"""

import os
import threading
from collections.abc import Callable
from typing import NamedTuple

from videothinker.clips import ClipCache, default_cache
from videothinker.curated import Curated
from videothinker.diagnose import solvers
from videothinker.diagnose.answerer import Answerer
from videothinker.diagnose.settings import DiagnosisSettings


class Opening(NamedTuple):
    """What an opener is told."""

    ref: str
    curated: Curated
    settings: DiagnosisSettings
    endpoint: str | None = None
    """The address of the server, for a server's model."""
    clip_cache: bool = False
    """Whether decoded frames are kept on disk for the next checkpoint."""
    trust_remote_code: bool = False
    """Whether Python that comes with a checkpoint may run."""

    @property
    def cache(self) -> ClipCache | None:
        """Where decoded frames are kept, if they are."""
        return default_cache() if self.clip_cache else None


def kind_of(ref: str, *, endpoint: bool) -> str:
    """The key in `OPENERS` of what `ref` names. endpoint: a server stands behind every REF that is no solver."""
    if ref.startswith(solvers.PREFIX):
        return "solver"
    return "endpoint" if endpoint else "checkpoint"


def _solver(asked: Opening) -> Answerer:
    return solvers.open_solver(asked.ref, curated=asked.curated, seed=asked.settings.seed)


def _endpoint(asked: Opening) -> Answerer:
    from videothinker.diagnose.endpoint import open_endpoint

    assert asked.endpoint is not None  # the kind says that there is a server
    return open_endpoint(asked.endpoint, asked.ref, curated=asked.curated, settings=asked.settings, cache=asked.cache)


def _checkpoint(asked: Opening) -> Answerer:
    _wake_gpu()
    from videothinker.diagnose.checkpoint_answerer import open_checkpoint

    return open_checkpoint(
        asked.ref,
        curated=asked.curated,
        settings=asked.settings,
        cache=asked.cache,
        trust_remote_code=asked.trust_remote_code,
    )


def _wake_gpu() -> None:
    """Let the GPU's driver set itself up, which takes about a second, while transformers is imported."""
    import torch

    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        threading.Thread(target=lambda: torch.zeros(1, device=device), daemon=True).start()


OPENERS: dict[str, Callable[[Opening], Answerer]] = {"solver": _solver, "endpoint": _endpoint, "checkpoint": _checkpoint}
