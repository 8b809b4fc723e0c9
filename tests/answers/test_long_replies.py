"""Replies that nobody wrote: runs of one thing, which pattern matching may look at again and again.

A policy in training writes such replies, and each is read by evaluation and rewards alike.
"""

import json
import subprocess
import sys

import pytest

N_CHARACTERS = 300_000
LIMIT_S = 60
"""What a reading in linear time, about a second, does not come near. The first parser took twice that for 12,000 characters."""

RUNS = {  # what stands before, what is repeated, what stands behind
    "blanks behind so": ("so", " ", "x"),
    "blanks behind the answer": ("the answer is", " ", "x"),
    "so": ("", "so ", "the answer"),
    "final": ("the ", "final ", "answer"),
    "statements": ("", "The answer is A. ", ""),
    "statements in one sentence": ("", "the answer is A, ", ""),
    "labels": ("", "answer: ", "x"),
    "blanks in the answer": ("<answer>A", " ", "x</answer>"),
    "line breaks in the answer": ("<answer>", "\n", "x</answer>"),
    "broken blanks in the answer": ("<answer>A", " \n", "x</answer>"),
    "blanks in none of": ("<answer>none", " ", "of</answer>"),
    "blanks in none of the": ("<answer>none of", " ", "the x</answer>"),
    "blanks in all of": ("<answer>all", " ", "of</answer>"),
    "brackets behind a letter": ("<answer>A", ")", " the cube</answer>"),
    "brackets before a word": ("<answer>A", ")", "x</answer>"),
    "brackets before a letter": ("<answer>", "(", "A</answer>"),
    "brackets in a text": ("<answer>A. the ", "(b ", "x</answer>"),
    "stops behind a letter": ("<answer>A", ".", "x</answer>"),
    "stops behind a verdict": ("<answer>A is correct", ".", "x</answer>"),
    "colons behind a letter": ("<answer>A", ":", " x</answer>"),
    "exclamation marks": ("<answer>A", "!", "x</answer>"),
    "commas": ("<answer>A", ",", "x</answer>"),
    "is correct": ("<answer>A", " is correct", " x</answer>"),
    "letters": ("<answer>", "A, ", "or B</answer>"),
    "letters without blanks": ("<answer>", "A", "</answer>"),
    "letters with blanks": ("<answer>", "A ", "x</answer>"),
    "a letter per line": ("", "A\n", "x"),
    "options": ("<answer>", "A. the cube, ", "x</answer>"),
    "options in brackets": ("<answer>", "(A) the cube ", "</answer>"),
    "option lines": ("<answer>", "A. the cube\n", "</answer>"),
    "letters in a text": ("<answer>A. ", "the C major ", "</answer>"),
    "judgements": ("<answer>", "A: correct. ", "</answer>"),
    "verdicts": ("<answer>A: ", "x: correct ", "y</answer>"),
    "sentences": ("<answer>A. ", "It falls. ", "x</answer>"),
    "abbreviations": ("<answer>A. ", "e.g. ", "x</answer>"),
    "the word option": ("<answer>", "option ", "</answer>"),
    "Chinese and": ("<answer>", "A \u548c ", "x</answer>"),
    "open thoughts": ("", "<think>", "A"),
    "open thoughts, closed once": ("", "<think>", "</think>A"),
    "open thoughts with text": ("", "<think>a", "</answer>"),
    "thoughts": ("", "<think>a</think>", "A"),
    "closed thoughts": ("", "</think>", "A"),
    "a long thought": ("<think>", "a", ""),
    "a thought of angle brackets": ("<think>", "<", "</think>A"),
    "answers": ("", "<answer>A</answer>", ""),
    "answers in a list": ("", "<answer>A</answer>, ", ""),
    "answers in prose": ("", "<answer>A</answer> no ", ""),
    "open answers": ("", "<answer>", "A</answer>"),
    "closed answers": ("", "</answer>", ""),
    "stops behind an answer": ("<think>x</answer>", " .", "x"),
    "closed answers in an open thought": ("<think>", "</answer>! ", "x"),
    "boxes": ("", "\\boxed{A}", ""),
    "boxes in a list": ("", "\\boxed{A}, ", ""),
    "boxes in prose": ("", "\\boxed{A} no ", ""),
    "open boxes": ("", "\\boxed{", "A"),
    "boxes without braces": ("", "\\boxed ", ""),
    "blanks in a box": ("\\boxed", " ", "{A}"),
    "open braces in a box": ("\\boxed{", "{", ""),
    "braces in a box": ("\\boxed{", "{a}", ""),
    "braces before a box": ("", "{", "\\boxed{A}"),
    "closed braces": ("\\boxed{A", "}", ""),
    "dollars behind a box": ("\\boxed{A}", "$ ", "is"),
    "stars": ("<answer>", "*", "A</answer>"),
    "quotation marks": ("<answer>", "'", "A</answer>"),
    "bullets": ("<answer>", "\n- ", "A</answer>"),
    "combining marks": ("<answer>a" + "\u0301" * (N_CHARACTERS // 2), "\u0323", "</answer>"),
    "ligatures": ("<answer>", "\ufdfa", "</answer>"),
    "yes": ("<answer>yes, ", "yes ", "</answer>"),
    "blanks behind yes": ("<answer>yes", " ", "x</answer>"),
    "line breaks behind yes": ("<answer>yes", "\n", "x</answer>"),
    "digits": ("<answer>", "1", "</answer>"),
    "numbers": ("<answer>", "1 ", "x</answer>"),
    "thousands": ("<answer>1", ",000", "x</answer>"),
    "slashes": ("<answer>", "1/", "x</answer>"),
    "fractions": ("<answer>", "\\frac{1}{", "x</answer>"),
    "raised digits": ("<answer>1", "\u00b2", "x</answer>"),
    "clocks": ("<answer>", "1:00:", "x</answer>"),
    "times": ("", "3 to 5 s, ", "x"),
    "hedges": ("", "about ", "7"),
    "equal signs": ("<answer>", "= 7 ", "</answer>"),
    "lines of numbers": ("", "7\n", "The answer is 7"),
    "exclamation marks before a reply": ("", "!", "<think>a</think><answer>A</answer>"),
    "exclamation marks in a reply": ("<think>a</think>", " !", "x<answer>A</answer>"),
    "exclamation marks behind a reply": ("<think>a</think><answer>A</answer>", "! ", "x"),
}

_READ = """
import json, sys
from videothinker.answers import FORMS, format_score
before, repeated, behind, n_characters = json.load(sys.stdin)
reply = before + repeated * ((n_characters - len(before) - len(behind)) // len(repeated)) + behind
for form in FORMS.values():
    form.parse(reply, 2)
format_score(reply)
"""


@pytest.mark.parametrize("run", RUNS)
def test_a_long_reply_is_read_in_linear_time(run: str) -> None:
    """A process of its own reads 300,000 characters, and is killed after a minute.

    Not a measurement: what is linear takes seconds even on a busy machine, and what is quadratic hours.
    """
    text = json.dumps([*RUNS[run], N_CHARACTERS])
    subprocess.run([sys.executable, "-c", _READ], input=text, text=True, check=True, timeout=LIMIT_S)
