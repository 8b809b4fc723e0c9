"""VLMEvalKit's data sets with `--judge exact_matching`: what its rules match, and no judge model.

Decoding is a matter of its model classes, so it is left open here. Of the numbers of frames that it offers, those of its
64-frame sets are taken, and 32 for Video-Holmes.
"""

import re

from videothinker import answers
from videothinker.diagnose.frame_rules import FrameRule
from videothinker.diagnose.protocols import official, tempcompass
from videothinker.diagnose.protocols.base import (
    Prompt,
    Protocol,
    Reading,
    Rules,
    Why,
    in_lines,
    listed,
    read_by_fit,
    read_letter,
)
from videothinker.diagnose.protocols.styles import LOST_COMMAS, earliest_of_alphabet, first_capital, first_word_fits
from videothinker.records import Question

_INSIDE = FrameRule("inside", 64)
_FAILED = "Failed to obtain answer via API"
_ANSWER = re.compile(r"<answer>\s*(.*?)\s*</answer>", re.DOTALL)
_PREFIXES = (*LOST_COMMAS, "Answer:", "Option:")


def _mvbench(question: Question) -> Prompt:
    """MVBench's prompt; most of its model classes put the beginning of the reply into the question, as here."""
    return Prompt(
        f"{official.mvbench_question(question)}\nOnly give the best option.Best option:(", system=official.WATCH_CAREFULLY
    )


def _read_mvbench(question: Question, reply: str, seed: int) -> Reading:
    """The first word, else a letter or an option's text that it finds; nothing at all, and a failed request, count as right."""
    if _FAILED in reply:
        return Reading(None, right=True, why=Why.FAILED)
    said = reply.strip()
    reading = read_by_fit(question, lambda letter: first_word_fits(said, letter))
    if reading.why:
        return reading if said.strip("().") else reading._replace(why=Why.EMPTY)
    return reading if reading.right else read_letter(question, _inferred(question, reply))


_REFUSALS = (
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
)
_ANSWER_IS = re.compile(r"answer\s+is\s+\**([ABCD])\**", re.IGNORECASE)
_LAST_WORDS = 4


def _inferred(question: Question, reply: str) -> str | None:
    """The one letter that is a word of its own among the last four words, else "answer is B", else the one option whose text is
    in the reply, which may then be twice as long as all options."""
    options = dict(zip(answers.LETTERS, (text.lower() for text in question.options), strict=False))
    if any(refusal in reply for refusal in _REFUSALS):
        return None
    words = re.sub(r"[.()\[\],:;!*#{}]", " ", reply).split()
    letters = [letter for letter in options if letter in words]
    if len(letters) == 1 and words.index(letters[0]) > len(words) - 1 - _LAST_WORDS:
        return letters[0]
    if not letters and "Z" in words:
        return None
    if (stated := _ANSWER_IS.search(reply)) and stated[1].upper() in options:
        return stated[1].upper()
    if len(reply) > 2 * sum(map(len, options.values())):
        return None
    found = [letter for letter, text in options.items() if text in reply.lower()]
    return found[0] if len(found) == 1 else None


def _video_holmes(question: Question) -> Prompt:
    """Its options are printed as Python prints a list, without their apostrophes."""
    options = [line.replace("'", "") for line in listed(question)]
    return Prompt(
        "\n    Based on the given video, reason and answer the single-choice question. Provide your reasoning between the "
        "<think> and </think> tags, and then give your final answer between the <answer> and </answer> tags.     "
        f"The question is: {question.text}. The options are: {options}.     Your answer:\n    "
    )


def _read_video_holmes(question: Question, reply: str, seed: int) -> Reading:
    """The last <answer>, as Video-Holmes' own evaluator reads it; a reply without one is wrong."""
    found = _ANSWER.findall(reply)
    return read_letter(question, earliest_of_alphabet(found[-1].strip()) if found else None)


def _video_mme(question: Question) -> Prompt:
    return Prompt(
        "\nThese are the frames of a video. "
        "Select the best answer to the following multiple-choice question based on the video. "
        "Respond with only the letter (A, B, C, or D) of the correct option.\n"
        + in_lines(f"Question: {question.text}", *listed(question), "Answer: ")
    )


def _read_video_mme(question: Question, reply: str, seed: int) -> Reading:
    return read_letter(question, first_capital(reply, "ABCD", _PREFIXES))


def _long_video_bench(question: Question) -> Prompt:
    return Prompt(
        in_lines(question.text, *listed(question), "Answer with the option's letter from the given choices directly.")
    )


def _read_long_video_bench(question: Question, reply: str, seed: int) -> Reading:
    return read_letter(question, first_capital(reply, "ABCDE", _PREFIXES))


PROTOCOL = Protocol(
    "vlmevalkit",
    "VLMEvalKit at e8e78f0, with --judge exact_matching",
    (
        "MVBench: an empty reply, '(', ')' and '.' are right, and so is a request that failed",
        "Video-Holmes: leans to A, as the official evaluator does; a reply without <answer> is wrong",
        "TempCompass: what no rule matches is wrong; captioning needs a judge",
        "Video-MME and LongVideoBench: any capital in a word counts ('Because' is B); two commas are missing in the list of "
        "phrases to remove",
        "rates of frames and limits of pixels are the model class's",
    ),
    {
        "MVBench": Rules(_mvbench, _read_mvbench, frames=FrameRule("midpoints", 64)),
        "Video-Holmes": Rules(_video_holmes, _read_video_holmes, frames=_INSIDE._replace(n_frames=32)),
        "TempCompass": Rules(tempcompass.prompt, tempcompass.read, frames=_INSIDE, forms=tempcompass.FORMS),
        "Video-MME": Rules(_video_mme, _read_video_mme, frames=_INSIDE),
        "LongVideoBench": Rules(_long_video_bench, _read_long_video_bench, frames=_INSIDE),
    },
)
