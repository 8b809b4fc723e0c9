"""Each benchmark's own evaluator: MMVU, Video-Holmes, MVBench, TempCompass, Video-MME and LongVideoBench."""

import re

from videothinker.diagnose.frame_rules import FrameRule
from videothinker.diagnose.protocols import tempcompass
from videothinker.diagnose.protocols.base import (
    GREEDY,
    Decoding,
    Prompt,
    Protocol,
    Reading,
    Rules,
    Why,
    guess,
    in_lines,
    listed,
    needs_a_judge,
    read_by_fit,
    read_letter,
)
from videothinker.diagnose.protocols.styles import (
    ALL_PREFIXES,
    LOST_COMMAS,
    earliest_of_alphabet,
    first_capital,
    first_word_fits,
)
from videothinker.records import Question

_ANSWER = re.compile(r"<answer>\s*(.*?)\s*</answer>", re.DOTALL)
WATCH_CAREFULLY = (
    "Carefully watch the video and pay attention to the cause and sequence of events, the detail and movement of objects, and "
    "the action and pose of persons. Based on your observations, select the best option that accurately addresses the "
    "question.\n"
)


def _mmvu(question: Question) -> Prompt:
    """Its chain-of-thought prompt, the one of its main results."""
    return Prompt(
        in_lines(
            "",
            f"Question: {question.text}",
            *listed(question, "{}: "),
            "",
            "Answer the given multiple-choice question step by step. Begin by explaining your reasoning process clearly. "
            "Conclude by stating the final answer using the following format: 'Therefore, the final answer is: $LETTER' "
            "(without quotes), where $LETTER is one of the options. Think step by",
            "step before answering.",
        )
    )


def _video_holmes(question: Question) -> Prompt:
    options = ", ".join(listed(question, "{}: "))
    return Prompt(
        "Based on the given video, reason and answer the single-choice question. Provide your reasoning between the <think> "
        "and </think> tags, and then give your final answer between the <answer> and </answer> tags. "
        f"The question is: {question.text}. The options are: {options}. Your answer:"
    )


def _read_video_holmes(question: Question, reply: str, seed: int) -> Reading:
    """The last <answer>, else the whole reply, whose capitals are tried in the order of the alphabet."""
    found = _ANSWER.findall(reply)
    return read_letter(question, earliest_of_alphabet(found[-1].strip() if found else reply))


def mvbench_question(question: Question) -> str:
    """The question and its options, as MVBench's own evaluator and VLMEvalKit write them."""
    return in_lines(f"Question: {question.text}", "Options:", *listed(question, "({}) ")).rstrip()


def _mvbench(question: Question) -> Prompt:
    """Its system text, and a reply that begins with an open bracket."""
    return Prompt(f"{mvbench_question(question)}\nOnly give the best option.", system=WATCH_CAREFULLY, prefill="Best option:(")


def _read_mvbench(question: Question, reply: str, seed: int) -> Reading:
    """The bracket of the prefill and the reply's first line, by their first word. Nothing at all fits every option."""
    line = "(" + reply.strip().split("\n")[0]
    reading = read_by_fit(question, lambda letter: first_word_fits(line, letter))
    return reading._replace(why=Why.EMPTY) if reading.why and not line.strip("().") else reading


def _video_mme(question: Question) -> Prompt:
    return Prompt(
        in_lines(
            "Select the best answer to the following multiple-choice question based on the video. "
            "Respond with only the letter (A, B, C, or D) of the correct option.",
            question.text,
            *listed(question),
            "The best answer is:",
        )
    )


def _read_video_mme(question: Question, reply: str, seed: int) -> Reading:
    """The first capital A to D. A reply without one leaves the denominator."""
    letter = first_capital(reply, "ABCD", LOST_COMMAS)
    return read_letter(question, letter) if letter else Reading(None, right=False, counted=False, why=Why.LEFT_OUT)


def _long_video_bench(question: Question) -> Prompt:
    return Prompt(
        in_lines(
            f"Question: {question.text}",
            *listed(question),
            "Answer with the option's letter from the given choices directly.",
        )
    )


def read_long_video_bench(question: Question, reply: str, seed: int) -> Reading:
    """The first capital A to E, else a random option."""
    letter = first_capital(reply, "ABCDE", ALL_PREFIXES)
    return read_letter(question, letter) if letter else guess(question, seed)


def _read_tempcompass(question: Question, reply: str, seed: int) -> Reading:
    return tempcompass.read(question, reply.replace("</s>", "").strip(), seed)


PROTOCOL = Protocol(
    "official",
    "MMVU at 4d54223, Video-Holmes at 52ef8da, Ask-Anything (MVBench) at 4dd8210, TempCompass at e1b4631 with --disable_llm, "
    "Video-MME at 8889f31, LongVideoBench (its reading as its author gave it to lmms-eval)",
    (
        "MMVU: GPT-4o judges every reply, so no reply is scored here",
        "Video-Holmes: leans to A, whose capital anywhere in 'B. An owl' comes first",
        "MVBench: an empty reply is right; 'The answer is B' is wrong",
        "TempCompass: captioning needs a judge; 'Not sure' is read as no",
        "Video-MME: any capital A to D in a word counts ('Because' is B, 'Answer: C' is A); a reply without one leaves the "
        "denominator; two commas are missing in the list of phrases to remove",
        "LongVideoBench: a reply without a letter is a random option; its subtitles are left out here",
    ),
    {
        "MMVU": Rules(
            _mmvu,
            needs_a_judge,
            Decoding(max_new_tokens=1024, temperature=1.0, top_p=1.0),
            FrameRule("fps", 64, fps=1.0),
        ),
        "Video-Holmes": Rules(_video_holmes, _read_video_holmes, Decoding(max_new_tokens=1024, temperature=0.1, top_p=0.001)),
        "MVBench": Rules(_mvbench, _read_mvbench, GREEDY._replace(max_new_tokens=100), FrameRule("midpoints", 16)),
        "TempCompass": Rules(
            tempcompass.prompt,
            _read_tempcompass,
            Decoding(max_new_tokens=128),
            FrameRule("fps", 768, fps=1.0),
            max_pixels=720 * 720,
            forms=tempcompass.FORMS,
        ),
        "Video-MME": Rules(_video_mme, _read_video_mme),
        "LongVideoBench": Rules(_long_video_bench, read_long_video_bench, frames=FrameRule("fps", 256, fps=1.0)),
    },
)
