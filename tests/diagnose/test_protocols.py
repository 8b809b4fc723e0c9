"""Other evaluators' prompts and readings, by hand.

The readings were held against the programs' own functions when they were written (docs/protocols.md has the snapshots); here
stand the cases that tell them apart.
"""

from typing import Any

import msgspec
import pytest
from curated_factory import a_choice

from videothinker.diagnose.protocols import OURS, PROTOCOLS, all_protocols, find
from videothinker.diagnose.protocols.base import Prompt, Reading, Why
from videothinker.errors import VtError
from videothinker.records import Form, Question


def ask(
    source: str, *options: str, gold: str = "A", form: Form = Form.CHOICE, text: str = "What falls?", **facets: str
) -> Question:
    plain = a_choice("7", gold="A")
    return msgspec.structs.replace(
        plain,
        text=text,
        options=options or ("a cube", "a ball", "an owl"),
        gold=(gold,),
        form=form,
        facets=facets,
        source=source,
    )


MMVU = ("the cup", "a small cat", "red ink", "iron", "salt water")


def read(protocol: str, question: Question, reply: str) -> Reading:
    return find(protocol).read(question, reply, 42)


def told(reading: Reading) -> tuple[Any, ...]:
    """(letter, right, counted, why)"""
    return ("".join(reading.chosen) if reading.chosen is not None else None, reading.right, reading.counted, reading.why)


# ---- lmms-eval ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gold", ["A", "B", "C"])
def test_lmms_eval_finds_one_reply_right_for_three_golds(gold: str) -> None:
    reply = "A reaction starts, which excludes option C. The final answer is: B"
    reading = read("lmms-eval", ask("MMVU", *MMVU, gold=gold), reply)
    assert told(reading) == (None, True, True, Why.SEVERAL)
    assert not read("lmms-eval", ask("MMVU", *MMVU, gold="D"), reply).right


def test_lmms_eval_takes_the_article_for_an_answer() -> None:
    assert told(read("lmms-eval", ask("MMVU", *MMVU[1:], "tin", gold="A"), "There is a cup on the table.")) == (
        "A",
        True,
        True,
        None,
    )
    question = ask("MVBench", gold="A")
    assert read("lmms-eval", question, "I see a ball fall").right
    assert told(read("lmms-eval", question, "")) == (None, False, False, Why.LEFT_OUT)


def test_lmms_eval_finds_an_option_of_mmvu_by_its_text_or_by_a_letter_and_a_word() -> None:
    assert told(read("lmms-eval", ask("MMVU", *MMVU, gold="E"), "It is salt water")) == ("E", True, True, None)
    # "e" is in "He drinks", and so is "water" in "waters"
    assert read("lmms-eval", ask("MMVU", *MMVU, gold="E"), "He drinks waters").right


def test_lmms_eval_takes_thought_out_before_it_reads() -> None:
    question = ask("MMVU", *MMVU, gold="B")
    assert told(read("lmms-eval", question, "<think>Is it C or D?</think>B")) == ("B", True, True, None)
    assert told(read("lmms-eval", question, "Is it C or D?</think> B")) == ("B", True, True, None)
    assert read("lmms-eval", question, "<think>B, or not").right, "an open tag hides nothing"


def test_lmms_eval_guesses_by_question_and_seed() -> None:
    question = ask("Video-Holmes", "u", "v", "w", "x", "y", "z", gold="C")
    guesses = {read("lmms-eval", question, reply) for reply in ("no idea", "", "hm")}
    (guess,) = guesses
    assert guess.why is Why.GUESSED
    assert guess.counted
    others = [find("lmms-eval").read(question, "", seed).chosen for seed in range(60)]
    assert {"".join(chosen or ()) for chosen in others} == set("ABCDEF")
    assert told(read("lmms-eval", question, "(B) or rather (C)"))[:2] == ("C", True)
    assert told(read("lmms-eval", ask("LongVideoBench"), "no idea"))[3] is Why.GUESSED


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("Because it falls, the answer is C", "C"),  # at the end
        ("B) it falls, so C is wrong", "B"),  # at the start
        ("I think (C) since A. is wrong", "C"),  # brackets before a full stop
        ("The best option is B, but D moves", "D"),  # anywhere behind the phrase, the last of them
        ("nothing", None),
    ],
)
def test_lmms_eval_ranks_where_a_letter_stands_in_video_mme(reply: str, letter: str | None) -> None:
    assert told(read("lmms-eval", ask("Video-MME", "u", "v", "w", "x"), reply))[0] == letter


# ---- VLMEvalKit -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reply", ["", "(", ")", ".", "(.", " "])
@pytest.mark.parametrize("gold", ["A", "C"])
def test_vlmevalkit_finds_nothing_right(reply: str, gold: str) -> None:
    assert told(read("vlmevalkit", ask("MVBench", gold=gold), reply)) == (None, True, True, Why.EMPTY)


def test_vlmevalkit_finds_a_failed_request_right() -> None:
    assert told(read("vlmevalkit", ask("MVBench"), "Failed to obtain answer via API.")) == (None, True, True, Why.FAILED)


@pytest.mark.parametrize(
    ("reply", "right"),
    [
        ("C", True),
        ("(C) an owl", True),
        ("c.", True),
        ("Option C", True),
        ("The answer is C", True),
        ("I saw an owl", True),
        ("-1", False),
        ("<answer>C</answer>", False),
        ("It may be B, not C, to tell", False),
    ],
)
def test_vlmevalkit_reads_mvbench_without_a_judge(reply: str, right: bool) -> None:
    assert read("vlmevalkit", ask("MVBench", gold="C"), reply).right is right


@pytest.mark.parametrize("source", ["Video-MME", "LongVideoBench"])
def test_vlmevalkit_takes_any_capital(source: str) -> None:
    question = ask(source, "u", "v", "w", "x", gold="C")
    assert told(read("vlmevalkit", question, "Because it falls: C"))[0] == "B"
    assert told(read("vlmevalkit", question, "Best option: C"))[0] == "B"  # a comma is missing in its list
    assert told(read("vlmevalkit", question, "Answer: C"))[0] == "C"
    assert told(read("vlmevalkit", question, "no idea")) == (None, False, True, None)


def test_vlmevalkit_wants_a_tag_in_video_holmes() -> None:
    question = ask("Video-Holmes", "u", "v", "w", "x", "y", "z", gold="C")
    assert told(read("vlmevalkit", question, "C")) == (None, False, True, None)
    assert read("vlmevalkit", question, "<answer>A</answer> no, <answer>C</answer>").right


# ---- the benchmarks' own --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("<answer>B. An owl</answer>", "A"),  # the capital of "An" comes first in the alphabet
        ("<answer>B: An owl</answer>", "B"),
        ("<answer>[C]</answer>", "C"),
        ("<answer>E</answer>", "E"),
        ("Final D: it is", "D"),  # a letter before a colon comes before the F of Final
        ("none", None),
    ],
)
def test_video_holmes_leans_to_a(reply: str, letter: str | None) -> None:
    question = ask("Video-Holmes", "u", "v", "w", "x", "y", "z")
    assert told(read("official", question, reply))[0] == letter


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("B) a ball", ("B", True, True, None)),
        ("B", ("B", True, True, None)),
        ("B) a ball\n(C)", ("B", True, True, None)),
        ("(B)", ("B", True, True, None)),
        ("", (None, True, True, Why.EMPTY)),
        ("The answer is B", (None, False, True, None)),
        ("D)", (None, False, True, None)),
    ],
)
def test_mvbench_goes_on_from_an_open_bracket(reply: str, expected: tuple[Any, ...]) -> None:
    assert told(read("official", ask("MVBench", gold="B"), reply)) == expected


def test_video_mme_leaves_out_what_it_cannot_read() -> None:
    question = ask("Video-MME", "u", "v", "w", "x", gold="C")
    assert told(read("official", question, "no idea")) == (None, False, False, Why.LEFT_OUT)
    assert told(read("official", question, "Answer: C"))[:2] == ("A", False)
    assert told(read("official", question, "The best answer is C"))[:2] == ("C", True)


def test_mmvu_needs_a_judge() -> None:
    assert told(read("official", ask("MMVU", *MMVU), "A")) == (None, False, False, Why.NEEDS_A_JUDGE)


def test_a_letter_beyond_the_options_is_no_answer() -> None:
    question = ask("LongVideoBench", gold="B")  # three options
    assert told(read("official", question, "E")) == (None, False, True, Why.NO_SUCH_OPTION)


# ---- TempCompass ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["official", "lmms-eval", "vlmevalkit"])
@pytest.mark.parametrize(
    ("format_", "reply", "expected"),
    [
        ("multi-choice", "B. a ball", ("B", True, True, None)),
        ("multi-choice", "A) a cube", ("A", False, True, None)),
        ("multi-choice", "The answer is B", (None, False, True, Why.NEEDS_A_JUDGE)),
        ("multi-choice", "D", (None, False, True, Why.NO_SUCH_OPTION)),
        ("caption-matching", "Option 2: a ball", ("B", True, True, None)),
        ("caption-matching", "Option 2.", ("B", True, True, None)),
        ("caption-matching", "2", ("B", True, True, None)),
        ("caption-matching", "(x) a ball", ("B", True, True, None)),
        ("caption-matching", "a cube", ("A", False, True, None)),
        ("caption-matching", "the second", (None, False, True, Why.NEEDS_A_JUDGE)),
        ("captioning", "A ball rolls.", (None, False, False, Why.NEEDS_A_JUDGE)),
    ],
)
def test_tempcompass_matches_by_format(protocol: str, format_: str, reply: str, expected: tuple[Any, ...]) -> None:
    question = ask("TempCompass", gold="B", format=format_)
    assert told(read(protocol, question, reply)) == expected


def test_tempcompass_reads_the_first_letters_of_a_word_as_yes_or_no() -> None:
    question = ask("TempCompass", "yes", "no", gold="B", form=Form.YES_NO, format="yes-no")
    assert told(read("official", question, "Not sure")) == ("B", True, True, None)
    assert told(read("official", question, "Yes, it does")) == ("A", False, True, None)
    assert told(read("official", question, "It does")) == (None, False, True, Why.NEEDS_A_JUDGE)


def test_captions_keep_their_labels() -> None:
    labelled = ask("TempCompass", "Sentence A: one", "Sentence B: two", gold="B", format="caption-matching")
    assert told(read("official", labelled, "Sentence B"))[:2] == ("B", True)
    assert find("official").prompt(labelled).user == (
        "What falls?\nSentence A: one\nSentence B: two\nPlease directly give the best option:"
    )


# ---- Video-R1, VideoThinker and VideoAuto-R1 -----------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["video-r1", "videothinker"])
@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("<think>C</think><answer> B </answer>", ("B", True)),
        ("<answer>B</answer><answer>C</answer>", ("B", True)),  # the first
        ("B", ("B", True)),  # the whole reply
        ("<answer>B.</answer>", (None, False)),
        ("<answer>b</answer>", (None, False)),
        ("<answer>A,C</answer>", ("AC", False)),
    ],
)
def test_video_r1_compares_texts(protocol: str, reply: str, expected: tuple[Any, ...]) -> None:
    assert told(read(protocol, ask("Video-MME", gold="B"), reply))[:2] == expected


def test_video_r1_wants_a_set_written_as_gold_is() -> None:
    both = msgspec.structs.replace(ask("CLEVRER"), gold=("A", "C"), form=Form.LETTERS)
    assert told(read("videothinker", both, "<answer>A,C</answer>")) == ("AC", True, True, None)
    assert told(read("videothinker", both, "<answer>A, C</answer>")) == (None, False, True, None)
    assert told(read(OURS, both, "<answer>A, C</answer>")) == ("AC", True, True, None)


def test_videoauto_r1_reads_the_second_answer() -> None:
    question = ask("MMVU", *MMVU, gold="B")
    assert read("videoauto-r1", question, "\\boxed{A}<think>so \\boxed{C}</think>\\boxed{B}").right
    assert told(read("videoauto-r1", question, "\\boxed{A}<think>x</think> It is an Egg"))[0] == "E"
    assert told(read("videoauto-r1", ask("MVBench"), "\\boxed{A}<think>x</think>\\boxed{}")) == (
        None,
        False,
        False,
        Why.LEFT_OUT,
    )


# ---- prompts and settings -------------------------------------------------------------------------------------------------


def test_prompts_by_hand() -> None:
    assert find("official").prompt(ask("MVBench")) == Prompt(
        "Question: What falls?\nOptions:\n(A) a cube\n(B) a ball\n(C) an owl\nOnly give the best option.",
        system="Carefully watch the video and pay attention to the cause and sequence of events, the detail and movement of "
        "objects, and the action and pose of persons. Based on your observations, select the best option that accurately "
        "addresses the question.\n",
        prefill="Best option:(",
    )
    assert find("lmms-eval").prompt(ask("MVBench")).user == (
        "Question:What falls?\nOption:\n(A) a cube\n(B) a ball\n(C) an owl\nOnly give the best option.\n"
    )
    assert "video and the subtitles" in find("lmms-eval").prompt(ask("Video-MME")).user
    assert find("vlmevalkit").prompt(ask("LongVideoBench")).user == (
        "What falls?\nA. a cube\nB. a ball\nC. an owl\nAnswer with the option's letter from the given choices directly."
    )
    holmes = find("vlmevalkit").prompt(ask("Video-Holmes", "it's", "two")).user
    assert "The options are: ['A. its', 'B. two']." in holmes
    assert (
        find("video-r1")
        .prompt(ask("MMVU"))
        .user.startswith("What falls?Options:\nA. a cube\nB. a ball\nC. an owl\n\nPlease think")
    )
    assert (
        find("videothinker")
        .prompt(ask("Video-Holmes"))
        .user.startswith("What falls? \nA. a cube\nB. a ball\nC. an owl\nPlease think")
    )
    assert find("videoauto-r1").prompt(ask("MMVU")).user.endswith("C. an owl\nPut your final answer in \\boxed{}.")


def test_settings_of_a_protocol_are_those_of_its_question_sets() -> None:
    assert find(OURS).settings([ask("CLEVRER"), ask("MMVU")]) == {}
    assert find("videothinker").settings([ask("CLEVRER")]) == {
        "frame_rule": "fps",
        "fps": 2.0,
        "n_frames": 32,
        "max_pixels": 105_369,
        "max_new_tokens": 1024,
        "temperature": 0.01,
        "top_p": 0.001,
    }
    assert find("official").settings([ask("MVBench")]) == {
        "frame_rule": "midpoints",
        "n_frames": 16,
        "max_new_tokens": 100,
        "temperature": 0.0,
        "top_p": 1.0,
    }
    assert find("official").settings([ask("Video-MME")]) == {}
    with pytest.raises(VtError, match="sets max_new_tokens to 1024 for MMVU and to 16 for MVBench; ask them in two runs"):
        find("lmms-eval").settings([ask("MMVU"), ask("MVBench")])


def test_what_a_protocol_does_not_define_is_refused_in_one_line() -> None:
    with pytest.raises(
        VtError, match=r"vlmevalkit: does not say how MMVU is asked; it knows LongVideoBench, MVBench, TempC.*--protocol"
    ):
        find("vlmevalkit").prompt(ask("MMVU"))
    with pytest.raises(VtError, match="question 7 of MVBench has the form yes-no, expected choice"):
        find("official").settings([ask("MVBench", "yes", "no", form=Form.YES_NO)])
    with pytest.raises(VtError, match="--protocol officious: is none; expected one of ours, official, "):
        find("officious")
    assert not find("vlmevalkit").defines(ask("MMVU"))
    assert find("video-r1").defines(ask("anything"))


def test_every_protocol_says_where_it_is_from_and_what_it_does_wrong() -> None:
    assert [each.name for each in all_protocols()] == list(PROTOCOLS)
    assert all(each.source and (each.faults or each.name == OURS) for each in all_protocols())
