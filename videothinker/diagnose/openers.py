"""What answers for a REF of `vt diagnose`, by the kind of REF: a built-in solver, a server's model, or a checkpoint.

`Opener` opens it for a job, and lets go what was opened before.

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
from videothinker.diagnose.job import Job
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
    from videothinker.diagnose import vllm_answerer, vllm_check, vllm_child

    vllm_child.find_python()
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


_LoadedAs = tuple[str, str, str, tuple[str, ...]]


class Opener:
    """Opens what answers for a job's REF: a built-in solver, a server's model, or a checkpoint loaded here.

    Jobs in a row that ask one checkpoint about several data sets share what was loaded. It is let go before another is opened.
    """

    def __init__(
        self,
        endpoints: Sequence[str] = (),
        *,
        clip_cache: bool = False,
        trust_remote_code: bool = False,
        warn: Callable[[str], None] = silent,
    ) -> None:
        """endpoints: URLs of servers that stand behind the REFs.

        clip_cache: keep decoded frames on disk. trust_remote_code: run Python that comes with a checkpoint. warn: told in one
        line of what is not as it was meant.
        """
        self._endpoints, self._clip_cache, self._trust_remote_code = endpoints, clip_cache, trust_remote_code
        self._warn = warn
        self._opened: tuple[_LoadedAs, Opened] | None = None

    def has(self, job: Job) -> bool:
        """Whether what the job asks is loaded already."""
        return self._opened is not None and self._opened[0] == _loaded_as(job)

    def __call__(self, job: Job) -> Answerer:
        """What answers the job's questions.

        Raises:
            VtError: there is no such checkpoint, solver or server, or it cannot answer these questions.
        """
        if self._opened is None or not self.has(job):
            self._opened = None  # first: two checkpoints may not fit into memory
            asked = Opening(
                job.ref, job.curated, job.settings, self._endpoints, self._clip_cache, self._trust_remote_code, self._warn
            )
            self._opened = _loaded_as(job), OPENERS[job.record.kind](asked)
        return self._opened[1](job.curated, job.settings)


def _loaded_as(job: Job) -> _LoadedAs:
    """Jobs for which this is equal can share what was loaded."""
    loading = tuple(getattr(job.settings, name) for name in OF_LOADING)
    return job.record.name, job.ref, job.record.kind, loading


def open_answerer(
    job: Job, endpoints: Sequence[str] = (), *, clip_cache: bool = False, trust_remote_code: bool = False
) -> Answerer:
    """What answers for one job's REF, opened for it alone; arguments as for `Opener`."""
    return Opener(endpoints, clip_cache=clip_cache, trust_remote_code=trust_remote_code)(job)
