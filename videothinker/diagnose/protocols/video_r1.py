"""Video-R1's evaluator, which VideoThinker, VideoRFT and others took over.

It asks every set with one long prompt, and compares what stands in the first <answer></answer>, or the whole reply if nothing
does, with the gold letters as text.
"""

import re
from functools import partial

from videothinker import answers
from videothinker.diagnose.frame_rules import FrameRule
from videothinker.diagnose.protocols.base import (
    ANY,
    Decoding,
    Letters,
    Prompt,
    Protocol,
    Reading,
    Rules,
    listed,
)
from videothinker.records import Form, Question

_PONDER = (
    "Please think about this question as if you were a human pondering deeply. "
    "Engage in an internal dialogue using expressions such as 'let me think', 'wait', 'Hmm', 'oh, I see', "
    "'let's break it down', etc, or other natural language thought expressions "
    "It's encouraged to include self-reflection or verification in the reasoning process. "
    "Provide your detailed reasoning between the <think> and </think> tags, and then give your final answer between the "
    "<answer> and </answer> tags."
)
_LETTER = " Please provide only the single option letter (e.g., A, B, C, D, etc.) within the <answer> </answer> tags."
_ANSWER = re.compile(r"<answer>\s*(.*?)\s*</answer>", re.DOTALL)

FAULTS = (
    "the first <answer> counts and has to equal the gold letters as text: 'B.', '(B)', 'b' and 'A, C' for 'A,C' are wrong",
    "without <answer>, or with an empty one, the whole reply is compared, so an unread or cut reply is plain wrong",
    "asks for one letter where several may be correct",
    "the heading of the options follows the question without a blank or line break",
)


def ponder(question: str) -> Prompt:
    """The evaluator's prompt around a question that is written out."""
    return Prompt(f"{question}\n{_PONDER}{_LETTER}")


def prompt(question: Question) -> Prompt:
    """The question with its options, a line each."""
    return ponder(f"{question.text}Options:\n" + "".join(f"{line}\n" for line in listed(question)))


def read(question: Question, reply: str, seed: int) -> Reading:
    """Right if the first answer tag's text is that of gold, "A" or "A,C"."""
    found = _ANSWER.search(reply)
    said = (found[1].strip() if found else "") or reply.strip()
    if not said:
        return Reading(None, right=False)
    right = said == _text(question.gold)
    return Reading(question.gold if right else _letters(said, len(question.options)), right)


def _text(gold: Letters) -> str:
    return ",".join(gold) or "none"


def _letters(said: str, n_options: int) -> Letters | None:
    """The letters that a text is, and nothing else."""
    parts = said.split(",")
    known = answers.LETTERS[:n_options]
    return tuple(sorted(parts)) if all(len(part) == 1 and part in known for part in parts) else None


rules = partial(Rules, read=read, max_pixels=105_369, forms=tuple(Form))
"""Frames of 105,369 pixels at most: both programs raise their cap to 1.05 times the least, 128*28*28, whatever is set."""

PROTOCOL = Protocol(
    "video-r1",
    "Video-R1, src/eval_bench.py at 59d65c3",
    (*FAULTS, "a batch of 64 questions that fails is answered 'error', and so wrong"),
    {
        ANY: rules(
            prompt,
            decoding=Decoding(max_new_tokens=1024, temperature=0.1, top_p=0.001),
            frames=FrameRule("fps", 16, fps=2.0),
        )
    },
)
