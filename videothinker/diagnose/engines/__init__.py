"""What writes the replies of a checkpoint, by name.

To add an engine, add a module of its name to this folder and a line to `ENGINES`. The module has a function

    open_engine(ref: str, settings: DiagnosisSettings, *, trust_remote_code: bool) -> Engine

which loads the checkpoint as the engine needs it, and raises a `VtError` where it cannot serve it. `Engine`, and the records
that it takes and gives, are in `base.py`. This module itself loads nothing, so that settings and `--help` can read the names.
"""

ENGINES = {
    "auto": "graphs where GPU and model allow it, otherwise transformers",
    "graphs": "CUDA graphs, for Qwen2.5-VL",
    "transformers": "transformers' own generate, for any model",
    "vllm": "vLLM here or in an environment of its own (--engine-python), for vt diagnose",
}
"""Help for every engine that `--engine` may name."""
