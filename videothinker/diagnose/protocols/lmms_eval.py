"""lmms-eval's tasks. Frames are an argument of its model classes, 32 by default; every task decodes greedily."""

import re
import string
from collections.abc import Callable
from typing import Any

from videothinker import answers
from videothinker.diagnose.frame_rules import FrameRule
from videothinker.diagnose.protocols import tempcompass
from videothinker.diagnose.protocols.base import (
    GREEDY,
    Prompt,
    Protocol,
    Reading,
    Rules,
    Why,
    guess,
    in_lines,
    listed,
    read_by_fit,
    read_letter,
)
from videothinker.diagnose.protocols.official import read_long_video_bench
from videothinker.diagnose.protocols.styles import any_lone_letter
from videothinker.records import Question

Read = Callable[[Question, str, int], Reading]

_FRAMES = FrameRule("linspace", 32)


def _mmvu(question: Question) -> Prompt:
    return Prompt(
        in_lines(
            "",
            f"Question:{question.text}",
            *listed(question, "{}: "),
            "Visual Information: processed video",
            "Do not generate any intermediate reasoning process. Answer directly with the option letter from the",
            "given choices.",
            "",
        )
    )


def _read_mmvu(question: Question, reply: str, seed: int) -> Reading:
    return read_by_fit(question, lambda letter: _mmvu_fits(question, reply, letter))


def _mmvu_fits(question: Question, reply: str, letter: str) -> bool:
    """Whether the reply would be right with this gold letter.

    It is if the letter stands alone anywhere, in either case, or the option's text is in the reply; or if the letter is in it
    even as part of a word, and some word of the option, of three letters or more, is in it too.
    """
    said, option = reply.strip().lower(), question.options[answers.LETTERS.index(letter)].strip().lower()
    if re.search(rf"\b{letter.lower()}\b", said) or option in said:
        return True
    words = [word for part in option.split() if len(word := part.strip(string.punctuation)) > 2]
    return letter.lower() in said and any(word in said for word in words)


def _video_holmes(question: Question) -> Prompt:
    return Prompt(
        in_lines(
            f"Question: {question.text}",
            *listed(question),
            "Select the best answer to the following multiple-choice question based on the video. Respond with only the letter "
            "(A, B, C, D, E, or F) of the correct option.",
        )
    )


def _read_video_holmes(question: Question, reply: str, seed: int) -> Reading:
    """MMMU's parser: "(B)", else "B ", else "B.", else an option's text; the last of several, a random one if there is none."""
    text = reply
    for sign in ",.!?;:'":
        text = text.strip(sign)
    text = f" {text} "
    letters = answers.LETTERS[: len(question.options)]
    for find, place in (("({})", "({})"), ("{} ", " {} "), ("{}.", " {} ")):
        if found := [letter for letter in letters if find.format(letter) in text]:
            return read_letter(question, max(found, key=lambda letter: text.rfind(place.format(letter))))
    if len(text.split()) > 5:
        options = dict(zip(letters, (option.lower() for option in question.options), strict=True))
        if found := [letter for letter in letters if options[letter] in text.lower()]:
            return read_letter(question, max(found, key=lambda letter: text.lower().rfind(options[letter])))
    return guess(question, seed)


def _mvbench(question: Question) -> Prompt:
    lines = in_lines(f"Question:{question.text}", "Option:", *listed(question, "({}) "))
    return Prompt(f"{lines}\nOnly give the best option.\n")


def read_mvbench(question: Question, reply: str, seed: int) -> Reading:
    """A letter that stands alone; an empty reply leaves the denominator."""
    if not reply:
        return Reading(None, right=False, counted=False, why=Why.LEFT_OUT)
    return read_letter(question, any_lone_letter(reply))


def _video_mme(question: Question) -> Prompt:
    return Prompt(
        in_lines(
            "Select the best answer to the following multiple-choice question based on the video and the subtitles. "
            "Respond with only the letter (A, B, C, or D) of the correct option.",
            question.text,
            *listed(question),
            "",
            "Answer with the option's letter from the given choices directly.",
        )
    )


def _read_video_mme(question: Question, reply: str, seed: int) -> Reading:
    return read_letter(question, _ranked_letter(reply))


def _ranked_letter(reply: str) -> str | None:
    """The letter A to D in the place that counts most, and the last of those: alone at the start; at the end; anywhere behind
    the first "answer is" or the like; then "(B)", "B.", "B:", "B)", "B " and, if there is none of these, any capital."""
    text = reply.strip()
    for sign in ",.!?;:'\"":
        text = text.strip(sign)
    text = f" {text} "
    bare = text.strip()
    if not bare:
        return None
    if bare[0] in "ABCD" and not bare[1:2].isalpha():
        return bare[0]
    if bare[-1] in "ABCD" and not bare[-2:-1].isalpha():
        return bare[-1]
    ranks = [[place for letter in "ABCD" for place in _behind_phrases(text, letter)]]
    ranks += [[(text.rfind(mark), mark.strip("() .:")) for mark in marks if mark in text] for marks in _MARKS]
    return next((max(found)[1] for found in ranks if found), None)


_MARKS = [[form.format(letter) for letter in "ABCD"] for form in ("({})", "{}.", "{}:", "{})", "{} ", "{}")]
_PHRASES = (
    *(f"{the}{kind}answer is" for the in ("the ", "") for kind in ("", "correct ", "best ")),
    *(f"{the}{kind}option is" for the in ("the ", "") for kind in ("correct ", "best ")),
    *(f"{the}{kind}choice is" for the in ("the ", "") for kind in ("", "correct ")),
    *("i choose", "i select", "i pick", "my answer is", "my choice is"),
)
"""In English; the list also has Korean, Chinese and Japanese phrases, which are left out here."""


def _behind_phrases(text: str, letter: str) -> list[tuple[int, str]]:
    """Where a letter first stands behind the first place of each phrase that announces an answer."""
    found = []
    for phrase in _PHRASES:
        begins = text.lower().find(phrase)
        place = text.find(letter, begins + len(phrase)) if begins >= 0 else -1
        found += [(place, letter)] if place >= 0 else []
    return found


def _long_video_bench(question: Question) -> Prompt:
    return Prompt(
        in_lines(question.text, *listed(question), "Answer with the option's letter from the given choices directly.", "")
    )


_REASONING = (("<think>", "</think>"), ("<analysis>", "</analysis>"))


def outside_reasoning(reply: str) -> str:
    """The reply without the blocks that lmms-eval takes out before any task reads it; what is never closed stays."""
    for opens, closes in _REASONING:
        while opens in reply and (end := reply.find(closes, start := reply.find(opens))) >= 0:
            reply = reply[:start] + reply[end + len(closes) :]
        if closes in reply and opens not in reply:
            reply = reply.rpartition(closes)[2]
    return reply.strip()


def _task(prompt: Callable[[Question], Prompt], read: Read, max_new_tokens: int | None, **others: Any) -> Rules:
    """The rules of a task, which reads a reply without its reasoning."""
    return Rules(
        prompt,
        lambda question, reply, seed: read(question, outside_reasoning(reply), seed),
        GREEDY._replace(max_new_tokens=max_new_tokens),
        _FRAMES,
        **others,
    )


PROTOCOL = Protocol(
    "lmms-eval",
    "lmms-eval 0.7.2 at 75571cf, its default tasks with the model class qwen2_5_vl",
    (
        "MMVU: one reply can be right for several golds, since a letter that stands alone anywhere counts in either case, the "
        "article 'a' too, and so does an option's text; reasoning outside <think></think> inflates the score",
        "Video-Holmes: 64 tokens, and a random option where nothing is found",
        "MVBench: the article 'a' is read as A; an empty reply leaves the denominator",
        "TempCompass: what no rule matches goes to a judge, and is wrong without one; captioning needs one",
        "Video-MME: the prompt without subtitles speaks of subtitles",
        "LongVideoBench: a reply without a letter is a random option",
    ),
    {
        "MMVU": _task(_mmvu, _read_mmvu, 1024),
        "Video-Holmes": _task(_video_holmes, _read_video_holmes, 64),
        "MVBench": _task(_mvbench, read_mvbench, 16),
        "TempCompass": _task(tempcompass.prompt, tempcompass.read, None, forms=tempcompass.FORMS),
        "Video-MME": _task(_video_mme, _read_video_mme, 16),
        "LongVideoBench": _task(_long_video_bench, read_long_video_bench, 32),
    },
)
