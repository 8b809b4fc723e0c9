"""Whether vLLM writes what our own engine writes, shown on two clips that are made here: one short, one long.

The long one is there because of its times: behind a clip that is longer in time than in space, the two rules of text positions
differ, and so does everything that is said after it.
"""

import gc
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch

from videothinker.diagnose.engines.base import open_engine
from videothinker.diagnose.feed import QuestionFeed
from videothinker.diagnose.frame_choice import FrameChoice
from videothinker.diagnose.prompts import Prompts
from videothinker.diagnose.reply import Reply
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.diagnose.vllm_answerer import Served, job
from videothinker.errors import VtError
from videothinker.frames import Clip
from videothinker.models.chat import chat
from videothinker.models.text_positions import TextPositions
from videothinker.records import Question
from videothinker.records.question import Clip as Asked

N_TOKENS = 16
"""Tokens of each reply at most."""
TOLERANCE = {"float32": 1e-3, "bfloat16": 0.3, "float16": 0.1}
"""Nats by which a token's log-probability may differ, by the type of the weights. In bfloat16 a logit between 8 and 16 has
steps of 1/16, and kernels round at other places; another rule of text positions was seen to cost 3 to 6 nats in float32."""
_ASKED = "What happens in the clip?"


class Ours(NamedTuple):
    """What our own engine wrote to one clip."""

    reply: Reply
    n_prompt: int


class Compared(NamedTuple):
    """Both replies to one clip."""

    clip: str
    prompt_tokens: tuple[int, int]
    """Ours and vLLM's."""
    n_tokens: int
    """Of our reply."""
    n_same: int
    """Its first tokens that vLLM wrote too."""
    largest: float
    """Largest difference of log-probabilities in nats: over the tokens that both wrote, and the first ones that differ."""
    tolerance: float

    @property
    def agree(self) -> bool:
        """Whether nothing differs but rounding: where tokens part, both thought their own about as likely as the other did."""
        return self.prompt_tokens[0] == self.prompt_tokens[1] and self.largest <= self.tolerance


def clips() -> dict[str, Clip]:
    """A square that moves from left to right: within 2 seconds, and within 60. 8 frames of 84 x 112 pixels of 8 and 240."""
    frames = np.full((8, 84, 112, 3), 40, dtype=np.uint8)
    for i, frame in enumerate(frames):
        frame[30:54, 10 * i : 10 * i + 24] = (220, 180, 30)
    return {
        "short": Clip(frames, tuple(range(8)), 4.0, 8),
        "long": Clip(frames[:, ::-1].copy(), tuple(range(0, 240, 30)), 4.0, 240),
    }


def asked_with(settings: DiagnosisSettings) -> DiagnosisSettings:
    """Greedy, short, under vLLM's rule, with the settings of loading that were chosen."""
    return DiagnosisSettings(
        split=settings.split,
        max_new_tokens=N_TOKENS,
        text_positions=TextPositions.ORIGINAL,
        dtype=settings.dtype,
        revision=settings.revision,
    )


def ours(ref: str, settings: DiagnosisSettings, *, trust_remote_code: bool = False) -> dict[str, Ours] | None:
    """What our engine writes to each clip; None where the checkpoint does not fit into memory. Nothing stays loaded.

    Raises:
        VtError: the checkpoint cannot be loaded.
    """
    try:
        return _written(ref, asked_with(settings), trust_remote_code)
    except (torch.OutOfMemoryError, MemoryError):
        return None
    finally:
        gc.collect()
        torch.cuda.empty_cache()  # vLLM asks the GPU, and not torch, for what is free


def _written(ref: str, settings: DiagnosisSettings, trust_remote_code: bool) -> dict[str, Ours]:
    engine = open_engine(ref, settings, trust_remote_code=trust_remote_code)
    feed = QuestionFeed(engine.loaded, settings, free=engine.free)
    text = chat(engine.loaded.processor, _ASKED)
    shown = [(feed.show(clip), [_question(name)]) for name, clip in clips().items()]
    rows = [row for each in shown for row in feed.rows([each], Prompts(dict.fromkeys(clips(), text), None))]
    found = {row.question_id: Ours(reply, len(row.ids)) for row, reply in zip(rows, engine.reply(rows), strict=True)}
    engine.free()
    return found


def compare(expected: Mapping[str, Ours], served: Served, settings: DiagnosisSettings) -> list[Compared]:
    """What vLLM writes to the same clips, held against `expected`.

    Raises:
        VtError: vLLM ended.
    """
    chosen = asked_with(settings)
    sizes = FrameChoice(served.processor.video_processor, served.config.model_type, chosen).sizes
    text = chat(served.processor, _ASKED)
    shown = clips()
    jobs = [job(name, text, shown[name], sizes(len(shown[name].frames)), chosen) for name in expected]
    tolerance = TOLERANCE.get(served.writer.describe()["dtype"], TOLERANCE["bfloat16"])
    found = []
    for (name, own), theirs in zip(expected.items(), served.writer.reply(jobs), strict=True):
        n_same, largest = apart(own.reply.tokens, own.reply.logprobs, theirs["tokens"], theirs["logprobs"])
        lengths = (own.n_prompt, theirs["n_prompt"])
        found.append(Compared(name, lengths, len(own.reply.tokens), n_same, largest, tolerance))
    return found


def apart(
    tokens: Sequence[int], logprobs: Sequence[float], others: Sequence[int], other_logprobs: Sequence[float]
) -> tuple[int, float]:
    """How many first tokens two greedy replies share, and the largest difference of log-probabilities up to where they part.

    The first tokens that differ count: each is what one of the two found likeliest, so their log-probabilities are about equal
    where only rounding chose, and are not where the two saw different things.
    """
    n_same = 0
    while n_same < min(len(tokens), len(others)) and tokens[n_same] == others[n_same]:
        n_same += 1
    pairs = list(zip(logprobs, other_logprobs, strict=False))[: n_same + 1]
    return n_same, max((abs(one - other) for one, other in pairs), default=0.0)


def require(compared: Sequence[Compared], ref: str) -> None:
    """Go on only where vLLM writes what our engine does.

    Raises:
        VtError: it does not.
    """
    for each in compared:
        if not each.agree:
            n_ours, n_theirs = each.prompt_tokens
            raise VtError(
                f"{ref}: vLLM does not write what our own engine does about a {each.clip} clip: {n_theirs:,} tokens of prompt"
                f" for {n_ours:,}, {each.n_same} of {each.n_tokens} tokens alike, log-probabilities {each.largest:.2g} nats"
                f" apart (at most {each.tolerance:g}); choose another --engine, and see vt doctor"
            )


def _question(name: str) -> Question:
    """A question of which only the id matters: its words are written already."""
    return Question(question_id=name, text=_ASKED, clip=Asked(path=name), gold=(), group=name, source="vt doctor")
