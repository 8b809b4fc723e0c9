"""What answers for a REF of `vt diagnose`, by the kind of REF: a built-in solver, a server's model, or a checkpoint.

To add a kind, write its opener and add a line to `OPENERS`. Openers import what they need themselves: solvers need no torch.
"""

import os
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from videothinker.clips import ClipCache, default_cache
from videothinker.curated import Curated
from videothinker.diagnose import solvers
from videothinker.diagnose.answerer import Answerer
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.progress import silent


class Opening(NamedTuple):
    """What an opener is told."""

    ref: str
    curated: Curated
    settings: DiagnosisSettings
    """Data set and settings of the first asking; further ones of the same REF may follow."""
    endpoints: Sequence[str] = ()
    """The addresses of the servers, for a model that servers have."""
    clip_cache: bool = False
    """Whether decoded frames are kept on disk for the next checkpoint."""
    trust_remote_code: bool = False
    """Whether Python that comes with a checkpoint may run."""
    warn: Callable[[str], None] = silent
    """Told in one line of what is not as it was meant."""

    @property
    def cache(self) -> ClipCache | None:
        """Where decoded frames are kept, if they are."""
        return default_cache() if self.clip_cache else None


Opened = Callable[[Curated, DiagnosisSettings], Answerer]
"""What was opened for a REF: its answerer for a data set. The answerers of several data sets share what was loaded."""

OF_LOADING = ("dtype", "attention", "engine", "text_positions", "revision")
"""Settings that decide how a checkpoint is loaded; all others may differ between data sets that share what was loaded."""


def kind_of(ref: str, *, endpoint: bool) -> str:
    """The key in `OPENERS` of what `ref` names. endpoint: a server stands behind every REF that is no solver."""
    if ref.startswith(solvers.PREFIX):
        return "solver"
    return "endpoint" if endpoint else "checkpoint"


def _solver(asked: Opening) -> Opened:
    return lambda curated, settings: solvers.open_solver(asked.ref, curated=curated, seed=settings.seed)


def _endpoint(asked: Opening) -> Opened:
    from videothinker.diagnose.endpoint import open_endpoint

    def answerer(curated: Curated, settings: DiagnosisSettings) -> Answerer:
        return open_endpoint(asked.endpoints, asked.ref, curated=curated, settings=settings, cache=asked.cache, warn=asked.warn)

    return answerer


def _checkpoint(asked: Opening) -> Opened:
    if asked.settings.engine == "vllm":
        return _vllm(asked)
    _wake_gpu()
    from videothinker.diagnose.checkpoint_answerer import CheckpointAnswerer, open_checkpoint

    first = open_checkpoint(
        asked.ref,
        curated=asked.curated,
        settings=asked.settings,
        cache=asked.cache,
        trust_remote_code=asked.trust_remote_code,
    )

    def answerer(curated: Curated, settings: DiagnosisSettings) -> CheckpointAnswerer:
        return first.about(curated, settings)

    return answerer


def _vllm(asked: Opening) -> Opened:
    from videothinker.diagnose import vllm_answerer, vllm_check

    vllm_answerer.check(asked.ref, asked.settings)
    expected = vllm_check.ours(asked.ref, asked.settings, trust_remote_code=asked.trust_remote_code)  # while memory is free
    served = vllm_answerer.open_served(asked.ref, asked.settings, trust_remote_code=asked.trust_remote_code)
    if expected is None:
        asked.warn(f"{asked.ref}: does not fit into memory here, so vLLM's replies were not held against our own engine's")
    else:
        vllm_check.require(vllm_check.compare(expected, served, asked.settings), asked.ref)

    def answerer(curated: Curated, settings: DiagnosisSettings) -> Answerer:
        return vllm_answerer.VllmAnswerer(served, curated=curated, settings=settings, cache=asked.cache)

    return answerer


def _wake_gpu() -> None:
    """Let the GPU's driver set itself up, which takes about a second, while transformers is imported."""
    import torch

    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        threading.Thread(target=lambda: torch.zeros(1, device=device), daemon=True).start()


OPENERS: dict[str, Callable[[Opening], Opened]] = {"solver": _solver, "endpoint": _endpoint, "checkpoint": _checkpoint}
