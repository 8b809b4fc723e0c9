"""VideoAuto-R1's tasks, a fork of lmms-eval's: the model answers in a box, thinks, and answers in a box again.

Its evaluator writes the whole reply, and then takes the first answer where the model was sure of it, else the second. Here the
second is read.
"""

import re
from collections.abc import Callable

from videothinker.diagnose.frame_rules import FrameRule
from videothinker.diagnose.protocols.base import (
    GREEDY,
    Prompt,
    Protocol,
    Reading,
    Rules,
    in_lines,
    listed,
    read_letter,
)
from videothinker.diagnose.protocols.lmms_eval import read_mvbench
from videothinker.diagnose.protocols.official import read_long_video_bench
from videothinker.diagnose.protocols.styles import LOST_COMMAS, first_capital
from videothinker.records import Question

_SYSTEM = (
    "You are a helpful assistant.\n"
    "FIRST: Output your initial answer inside the first \\boxed{...} without any analysis or explanations. "
    "If you cannot determine the answer without reasoning, output \\boxed{Let's analyze the problem step by step.} instead.\n"
    "THEN: Think through the reasoning as an internal monologue enclosed within <think>...</think>.\n"
    "AT LAST: Output the final answer again inside \\boxed{...}. "
    "If you believe the previous answer was correct, repeat it; otherwise, correct it.\n"
    "Output format: \\boxed{...}<think>...</think>\\boxed{...}\n"
)
_BOX_IT = "Put your final answer in \\boxed{}."
_BOX = re.compile(r"\\boxed\{([^{}]*(?:\{[^{}]*\}[^{}]*)*)\}")


def _asked(*lines: str) -> Prompt:
    return Prompt(in_lines(*lines, _BOX_IT), system=_SYSTEM)


def _mmvu(question: Question) -> Prompt:
    return _asked(f"Question: {question.text}", "Options:", *listed(question))


def _mvbench(question: Question) -> Prompt:
    return _asked(f"Question: {question.text}", "Options:", *listed(question, "({}) "))


def _video_mme(question: Question) -> Prompt:
    return _asked(
        "Select the best answer to the following multiple-choice question based on the video. "
        "Respond with only the letter (A, B, C, or D) of the correct option.",
        question.text,
        *listed(question),
    )


def _long_video_bench(question: Question) -> Prompt:
    return _asked(question.text, "Options:", *listed(question))


def second_answer(reply: str) -> str:
    """The last box behind the thinking; all that stands there if there is no box."""
    said = reply.rpartition("</think>")[2]
    boxes = _BOX.findall(said)
    return boxes[-1] if boxes else said


def _by_capital(letters: str) -> Callable[[Question, str, int], Reading]:
    def read(question: Question, reply: str, seed: int) -> Reading:
        return read_letter(question, first_capital(second_answer(reply), letters, LOST_COMMAS))

    return read


def _read_mvbench(question: Question, reply: str, seed: int) -> Reading:
    return read_mvbench(question, second_answer(reply), seed)


def _read_long_video_bench(question: Question, reply: str, seed: int) -> Reading:
    return read_long_video_bench(question, second_answer(reply), seed)


def _task(prompt: Callable[[Question], Prompt], read: Callable[[Question, str, int], Reading], max_frames: int) -> Rules:
    return Rules(
        prompt,
        read,
        GREEDY._replace(max_new_tokens=4096),
        FrameRule("fps", max_frames, fps=2.0),
        max_pixels=768 * 28 * 28,
    )


PROTOCOL = Protocol(
    "videoauto-r1",
    "IVUL-KAUST/VideoAuto-R1 at f7d91a3, its *_boxed tasks with the Qwen2.5-VL script",
    (
        "any capital of the options' in the last box, or without a box in all that is behind the thinking, counts",
        "MVBench: the article 'a' is read as A; an empty answer leaves the denominator",
        "LongVideoBench: a reply without a letter is a random option",
        "not part of this: its early exit by confidence (the second answer is read), its limit of 16,384 video tokens in all",
    ),
    {
        "MMVU": _task(_mmvu, _by_capital("ABCDE"), 64),
        "MVBench": _task(_mvbench, _read_mvbench, 256),
        "Video-MME": _task(_video_mme, _by_capital("ABCD"), 256),
        "LongVideoBench": _task(_long_video_bench, _read_long_video_bench, 256),
    },
)
