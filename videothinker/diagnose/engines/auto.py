"""The quickest engine for a checkpoint: `graphs` for a Qwen2.5-VL with SDPA on a GPU, otherwise `transformers`."""

from videothinker.diagnose.engines.base import Engine, load_for
from videothinker.diagnose.engines.graphs import GraphsEngine, serves
from videothinker.diagnose.engines.transformers import TransformersEngine
from videothinker.diagnose.settings import DiagnosisSettings


def open_engine(ref: str, settings: DiagnosisSettings, *, trust_remote_code: bool = False) -> Engine:
    """Load the checkpoint and choose what writes its replies.

    Raises:
        VtError: the checkpoint cannot be loaded.
    """
    loaded = load_for(ref, settings, trust_remote_code=trust_remote_code)
    on_gpu = loaded.device.type == "cuda"
    return GraphsEngine(loaded, settings) if on_gpu and serves(loaded) else TransformersEngine(loaded, settings)
