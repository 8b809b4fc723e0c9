"""vLLM is no engine for rows: it has a vision tower of its own and takes frames, see `diagnose.vllm_answerer`."""

from videothinker.diagnose.engines.base import Engine
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.errors import VtError


def open_engine(ref: str, settings: DiagnosisSettings, *, trust_remote_code: bool = False) -> Engine:
    """Refuse: what asks for an engine needs the model in this process.

    Raises:
        VtError: always.
    """
    raise VtError(f"{ref}: --engine vllm is for vt diagnose, which needs replies alone; choose another engine")
