"""Stands in for vLLM: takes what the worker gives it, counts prompts as the processor does, and writes what it is told to."""

import math
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

__version__ = os.environ.get("STAND_IN_VERSION", "0.32.0")


class SamplingParams(SimpleNamespace):
    """Holds what it is given."""

    logprob_token_ids: ClassVar[Any] = None


class LLM:
    """Replies two tokens and the end, or what `says` has, as likely as `sure` has it; stops and goes on."""

    loaded: ClassVar[list[dict[str, Any]]] = []
    asked: ClassVar[list[Any]] = []
    finish = "stop"
    n_more = 0
    says: ClassVar[list[int]] = []
    sure: ClassVar[Any] = None

    def __init__(self, **options: Any) -> None:
        if "STAND_IN_FAILS" in os.environ:
            raise RuntimeError(os.environ["STAND_IN_FAILS"])
        from transformers import AutoProcessor

        self.loaded.append(options)
        self._processor = AutoProcessor.from_pretrained(options["model"])
        self._begun: dict[tuple[int, ...], str] = {}  # prompts as text, by their tokens
        model = SimpleNamespace(dtype=options["dtype"], max_model_len=4096)
        config = SimpleNamespace(model_config=model, device_config=SimpleNamespace(device_type="cpu"))
        self.llm_engine = SimpleNamespace(vllm_config=config)
        sys.stdout.write("what vLLM prints is no answer\n")

    def generate(self, prompts: list[dict[str, Any]], params: list[SamplingParams], *, use_tqdm: bool) -> list[Any]:
        self.asked.append((prompts, params))
        if "STAND_IN_NEVER_ENDS" in os.environ:
            Path(os.environ["STAND_IN_NEVER_ENDS"]).touch()
            time.sleep(100)
        return [self._reply(prompt, each) for prompt, each in zip(prompts, params, strict=True)]

    def get_tokenizer(self) -> Any:
        return self._processor.tokenizer

    def _reply(self, prompt: dict[str, Any], params: SamplingParams) -> Any:
        text, written = self._read(prompt)
        inputs = self._processor(text=[text], **self._shown(prompt), **prompt.get("mm_processor_kwargs", {}))
        ids = [*inputs["input_ids"][0], *written, *[0] * self.n_more]
        tokens = [*(self.says or [10, 11]), params.stop_token_ids[0]][len(written) :][: params.max_tokens]
        logprobs = self.sure(text)[len(written) :] if self.says else [-1, -2, -3]
        finish, reason = self.finish, params.stop_token_ids[0]
        for n in range(1, len(tokens) + 1):
            said = self._processor.tokenizer.decode(tokens[:n])
            if any(stop in said for stop in params.stop or []):
                assert params.detokenize
                tokens, reason = tokens[:n], params.stop[0]
                break
        others = {token: SimpleNamespace(logprob=math.log(0.25)) for token in getattr(params, "logprob_token_ids", ())}
        steps = [{**others, token: SimpleNamespace(logprob=each)} for token, each in zip(tokens, logprobs, strict=False)]
        output = SimpleNamespace(token_ids=tokens, logprobs=steps, finish_reason=finish, stop_reason=reason)
        return SimpleNamespace(outputs=[output], prompt_token_ids=ids)

    @staticmethod
    def _shown(prompt: dict[str, Any]) -> dict[str, Any]:
        shown = prompt.get("multi_modal_data", {})
        if "image" in shown:
            return {"images": [shown["image"]]}
        if "video" not in shown:
            return {}
        frames, told = shown["video"][0]
        told = {key: value for key, value in told.items() if key not in ("do_sample_frames", "video_backend")}
        return {"videos": [frames], "video_metadata": [told]}

    def _read(self, prompt: dict[str, Any]) -> tuple[str, list[int]]:
        """The prompt as text, and what of its tokens was written by the model."""
        if "prompt" in prompt:
            self._begun[tuple(self._processor.tokenizer.encode(prompt["prompt"]))] = prompt["prompt"]
            return prompt["prompt"], []
        ids = tuple(prompt["prompt_token_ids"])
        (known,) = [each for each in self._begun if ids[: len(each)] == each]
        return self._begun[known], list(ids[len(known) :])
