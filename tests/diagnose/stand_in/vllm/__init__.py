"""Stands in for vLLM: takes what the worker gives it, counts prompts as the processor does, and replies the same to all."""

import math
import os
import sys
from types import SimpleNamespace
from typing import Any, ClassVar

__version__ = os.environ.get("STAND_IN_VERSION", "0.32.0")


class SamplingParams(SimpleNamespace):
    """Holds what it is given."""

    logprob_token_ids: ClassVar[Any] = None


class LLM:
    """Replies two tokens and the end."""

    loaded: ClassVar[list[dict[str, Any]]] = []
    asked: ClassVar[list[Any]] = []
    finish = "stop"
    n_more = 0

    def __init__(self, **options: Any) -> None:
        if "STAND_IN_FAILS" in os.environ:
            raise RuntimeError(os.environ["STAND_IN_FAILS"])
        from transformers import AutoProcessor

        self.loaded.append(options)
        self._processor = AutoProcessor.from_pretrained(options["model"])
        model = SimpleNamespace(dtype=options["dtype"], max_model_len=4096)
        config = SimpleNamespace(model_config=model, device_config=SimpleNamespace(device_type="cpu"))
        self.llm_engine = SimpleNamespace(vllm_config=config)
        sys.stdout.write("what vLLM prints is no answer\n")

    def generate(self, prompts: list[dict[str, Any]], params: list[SamplingParams], *, use_tqdm: bool) -> list[Any]:
        self.asked.append((prompts, params))
        return [self._reply(prompt, each) for prompt, each in zip(prompts, params, strict=True)]

    def _reply(self, prompt: dict[str, Any], params: SamplingParams) -> Any:
        frames, told = prompt["multi_modal_data"]["video"][0]
        told = {key: value for key, value in told.items() if key not in ("do_sample_frames", "video_backend")}
        inputs = self._processor(
            text=[prompt["prompt"]], videos=[frames], video_metadata=[told], **prompt["mm_processor_kwargs"]
        )
        ids = [*inputs["input_ids"][0], *[0] * self.n_more]
        tokens = [10, 11, params.stop_token_ids[0]]
        others = {token: SimpleNamespace(logprob=math.log(0.25)) for token in getattr(params, "logprob_token_ids", ())}
        logprobs = [{**others, token: SimpleNamespace(logprob=each)} for token, each in zip(tokens, (-1, -2, -3), strict=True)]
        output = SimpleNamespace(token_ids=tokens, logprobs=logprobs, finish_reason=self.finish)
        return SimpleNamespace(outputs=[output], prompt_token_ids=ids)
