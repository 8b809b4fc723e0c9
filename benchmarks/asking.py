"""Ask a checkpoint with one of the engines, and take the time: what the benchmarks of asking share."""

import gc
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import torch

from videothinker.curated import Curated
from videothinker.diagnose.checkpoint_answerer import CheckpointAnswerer
from videothinker.diagnose.engines.base import open_engine
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.diagnose.vllm_answerer import VllmAnswerer, open_served
from videothinker.models.text_positions import TextPositions
from videothinker.records import Question

AUTO, VLLM = "auto", "vllm"
ON_GPU = torch.cuda.is_available()


def ask(
    name: str,
    ref: str,
    curated: Curated,
    questions: Sequence[Question],
    settings: DiagnosisSettings,
    batch_sizes: Sequence[int],
) -> list[dict[str, Any]]:
    """A row for each batch size, asked with the engine of that name; of vLLM, which would know the clips already when they are
    asked about again, one for the largest.

    Raises:
        VtError: the engine cannot serve the checkpoint.
    """
    settings = msgspec.structs.replace(settings, engine=name)
    answerer_of = _opened(name, ref, curated, settings)
    rows = []
    for batch_size in batch_sizes if name != VLLM else [max(batch_sizes)]:
        answerer = answerer_of(msgspec.structs.replace(settings, batch_size=batch_size))
        list(answerer.answer(questions[:1]))
        before = answerer.describe()["seconds"]
        if ON_GPU:
            torch.cuda.reset_peak_memory_stats()
        start = time.perf_counter()
        replies = list(answerer.answer(questions))
        seconds = time.perf_counter() - start
        assert all(reply.n_tokens == settings.max_new_tokens for reply in replies), (
            "a clip was not read, or a reply ended early"
        )
        said = answerer.describe()
        rows.append(
            {
                "asked_with": name,
                "engine": said["engine"],
                "batch_size": batch_size,
                "n_questions": len(replies),
                "seconds": seconds,
                "questions_per_second": len(replies) / seconds,
                "seconds_by_stage": {stage: spent - before[stage] for stage, spent in said["seconds"].items()},
                "video_tokens": said["fed"][0]["video_tokens"],
                "peak_gib": torch.cuda.max_memory_allocated() / 2**30 if ON_GPU else None,
            }
        )
    return rows


def _opened(name: str, ref: str, curated: Curated, settings: DiagnosisSettings) -> Callable[[DiagnosisSettings], Any]:
    """The answerer for settings that differ in the batch size, with the checkpoint loaded once."""
    if name == VLLM:
        served = open_served(ref, msgspec.structs.replace(settings, attention=AUTO, text_positions=TextPositions.ORIGINAL))
        return lambda sized: VllmAnswerer(served, curated=curated, settings=sized)
    engine = open_engine(ref, settings)
    return lambda sized: CheckpointAnswerer(engine, curated=curated, settings=sized)


def let_go() -> None:
    """Free the model that was measured before the next one is loaded."""
    gc.collect()
    if ON_GPU:
        torch.cuda.empty_cache()
