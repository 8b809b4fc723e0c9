"""Log-probabilities of answers: by hand, against the plain model, and in any batch."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from curated_factory import a_choice, a_question
from diagnose.architectures import write_llava, write_qwen3
from diagnose.asking import settings
from transformers import AutoModelForImageTextToText, AutoProcessor

from videothinker.answers import Style, render
from videothinker.curated import Curated
from videothinker.diagnose import option_scores, probing
from videothinker.diagnose.answerer import RawScores
from videothinker.diagnose.checkpoint_answerer import CheckpointAnswerer, open_checkpoint
from videothinker.diagnose.engines.packed import additive_mask, packed, sources, summed
from videothinker.diagnose.views import VIEWS
from videothinker.frames import read_clip
from videothinker.models import tiny
from videothinker.models.chat import chat
from videothinker.records import Form, OptionScores

REPLIES = ["<answer>A</answer>", "<answer>A,C</answer>", "<answer>none</answer>", "<answer>B</answer>"]


def plainly(folder: Path, curated: Curated, question: Any, text: str, checkpoint: CheckpointAnswerer) -> float:
    """The log-probability of a reply behind `<answer>`, by one pass of the whole processor and model and nothing else."""
    model, processor = (
        AutoModelForImageTextToText.from_pretrained(folder, dtype="float32"),
        AutoProcessor.from_pretrained(folder),
    )
    footage = curated.clip(question)
    assert footage is not None
    clip = read_clip(footage, indices=checkpoint.feed.frames.indices(25.0, 32))
    inputs = dict(
        processor(
            text=[chat(processor, render(question, Style.DIRECT))],
            videos=[clip.frames],
            video_metadata=[clip.metadata()],
            do_sample_frames=False,
            return_tensors="pt",
            **checkpoint.feed.frames.sizes(10),
        )
    )
    inputs.pop("video_metadata", None)
    tokenize = processor.tokenizer
    ends = tokenize(REPLIES, add_special_tokens=False)["input_ids"]
    n_shared = next(i for i, tokens in enumerate(zip(*ends, strict=False)) if len(set(tokens)) > 1)
    end = tokenize(text, add_special_tokens=False)["input_ids"]
    n_prompt = inputs["input_ids"].shape[1]
    for key, value in inputs.items():
        if isinstance(value, torch.Tensor) and value.shape == (1, n_prompt):
            more = {"input_ids": end, "attention_mask": [1] * len(end)}.get(key, [0] * len(end))
            inputs[key] = torch.cat([value, torch.tensor([more], dtype=value.dtype)], 1)
    with torch.no_grad():
        logits = model(**inputs).logits[0]
    tokens = [getattr(model.config, f"{kind}_token_id", None) for kind in ("image", "video")]
    logits[:, [token for token in tokens if token is not None]] = -torch.inf
    logps = logits.log_softmax(-1)
    return sum(float(logps[n_prompt + i - 1, token]) for i, token in enumerate(end) if i >= n_shared)


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("kind", ["qwen2.5", "qwen2.5 graphs", "qwen2.5 eager", "qwen3", "llava"])
def test_scores_are_the_plain_models(colours: Curated, tmp_path: Path, kind: str, batch_size: int) -> None:
    write = {"qwen3": write_qwen3, "llava": write_llava}.get(kind, tiny.build)
    folder = write(tmp_path / "model")
    asked = {"engine": "graphs"} if "graphs" in kind else {"attention": "eager"} if "eager" in kind else {}
    checkpoint = open_checkpoint(
        str(folder), curated=colours, settings=settings(prompt=Style.DIRECT, n_frames=10, batch_size=batch_size, **asked)
    )
    questions = colours.questions("dev")
    replies = {question.question_id: REPLIES[: 3 + i % 2] for i, question in enumerate(questions)}
    found = {raw.question_id: raw.logprobs for raw in checkpoint.score(questions, replies)}
    for question in (questions[0], questions[3]):
        expected = [plainly(folder, colours, question, text, checkpoint) for text in replies[question.question_id]]
        assert found[question.question_id] == pytest.approx(expected, abs=2e-4)


def test_a_clip_that_cannot_be_read_costs_its_own_questions(colours: Curated, tmp_path: Path) -> None:
    assert colours.videos_root is not None
    (colours.videos_root / "green.mp4").unlink()
    checkpoint = open_checkpoint(str(tiny.build(tmp_path / "model")), curated=colours, settings=settings(prompt=Style.DIRECT))
    questions = colours.questions("dev")
    found = {raw.question_id: raw for raw in checkpoint.score(questions, {one.question_id: REPLIES for one in questions})}
    assert [found[one.question_id].logprobs is None for one in questions] == [False, False, True, True, False, False]
    assert "No such file" in str(found["1:0"].error)


def test_out_of_memory_halves_the_batch(colours: Curated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = open_checkpoint(str(tiny.build(tmp_path / "model")), curated=colours, settings=settings(prompt=Style.DIRECT))
    questions = colours.questions("dev")
    replies = {one.question_id: REPLIES for one in questions}
    expected = {raw.question_id: raw.logprobs for raw in checkpoint.score(questions, replies)}
    sizes, inner = [], checkpoint.engine.score

    def scarce(rows: Any, ends: Any) -> list[list[float]]:
        sizes.append(len(rows))
        if len(rows) > 2:
            raise torch.OutOfMemoryError
        return inner(rows, ends)

    monkeypatch.setattr(checkpoint.engine, "score", scarce)
    found = {raw.question_id: raw.logprobs for raw in checkpoint.score(questions, replies)}
    assert sizes == [6, 2, 2, 2]
    assert all(found[key] == pytest.approx(expected[key], abs=1e-4) for key in found)


# ---- continuations in one row ------------------------------------------------------------------------------------------------


def test_a_continuation_sees_the_prompt_and_itself_alone() -> None:
    """A row of a padded prompt (columns 1 to 3, of which 1 and 2 are in the cache) and the continuations x y and z."""
    places = packed([[[7, 8], [9]]], 4)
    assert places.end.tolist() == [[-1, 0, 0, 1]]
    assert places.back.tolist() == [[0, 0, 0, 2]]
    is_token = torch.tensor([[0, 1, 1, 1, 1, 1, 1]])
    seen = additive_mask(is_token, places.end, torch.float32)[0, 0] == 0
    assert seen.tolist() == [
        [False, True, True, True, False, False, False],  # the prompt's last token
        [False, True, True, True, True, False, False],  # x
        [False, True, True, True, True, True, False],  # y
        [False, True, True, True, False, False, True],  # z sees neither x nor y
    ]


def test_where_the_tokens_of_continuations_are_predicted() -> None:
    assert sources([[7, 8, 9], [4], [5, 6]]) == [0, 1, 2, 0, 0, 5]
    assert summed(torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0, 32.0]), [[7, 8, 9], [4], [5, 6]]) == [7.0, 8.0, 48.0]


# ---- answers and margins -----------------------------------------------------------------------------------------------------


def test_every_answer_that_a_form_allows() -> None:
    sets = a_question("0:0", n_options=2).question
    assert option_scores.possible(sets) == [(), ("A",), ("B",), ("A", "B")]
    assert option_scores.possible(a_choice("q", n_options=3)) == [("A",), ("B",), ("C",)]
    assert option_scores.possible(a_choice("q", n_options=2, form=Form.YES_NO)) == [("A",), ("B",)]
    assert option_scores.why_none(a_choice("q", n_options=26)) is None
    assert option_scores.why_none(a_question("0:0", n_options=6).question) is None  # 64 sets
    assert option_scores.why_none(a_question("0:0", n_options=7).question) == option_scores.TOO_MANY
    assert option_scores.why_none(a_choice("q", n_options=1, gold="A", form=Form.CHOICE)) == option_scores.NO_OTHER


def test_how_answers_may_be_written() -> None:
    sets = a_question("0:0", n_options=3).question
    assert option_scores.spellings(sets, ("A", "C")) == ["<answer>A,C</answer>", "<answer>A, C</answer>"]
    assert option_scores.spellings(sets, ()) == ["<answer>none</answer>", "<answer>None</answer>"]
    assert option_scores.spellings(sets, ("B",)) == ["<answer>B</answer>"]
    truth = a_choice("q", n_options=2, form=Form.YES_NO)
    assert option_scores.spellings(truth, ("B",)) == ["<answer>no</answer>", "<answer>No</answer>"]


def test_a_margin_is_over_the_likeliest_other_answer() -> None:
    logps = {(): -9.0, ("A",): -1.0, ("B",): -3.0, ("A", "B"): -1.5}
    assert option_scores.margin(logps, ("A",)) == 0.5
    assert option_scores.margin(logps, ("B",)) == -2.0
    assert option_scores.margin({("A",): -1.0}, ("A",)) is None
    assert option_scores.margin(logps, ("7",)) is None


def test_a_liking_for_a_letter_cancels_over_all_ways_to_show_the_options() -> None:
    """Three options of which b is likeliest by 1 nat, and a checkpoint that likes whatever stands first by 4."""
    question = a_choice("q", gold="B", n_options=3)
    rows = {}
    for sample in range(3):
        liked = "ABC"[sample]  # moved by `sample` places, this option is shown as A
        logps = {letter: -2.0 + (letter == "B") + 4.0 * (letter == liked) for letter in "ABC"}
        rows["q", "normal", sample] = OptionScores(question_id="q", view="normal", sample=sample, logps=logps)
    (once,) = (option_scores.margins([question], [VIEWS["normal"]], 1, rows)["normal"],)
    assert once == {"q": -3.0}  # B at -1 against A at 2
    assert option_scores.margins([question], [VIEWS["normal"]], 3, rows)["normal"] == {"q": pytest.approx(1.0)}


def test_each_way_to_show_the_options_is_scored_once_and_no_view_that_answers_otherwise() -> None:
    views = [VIEWS[name] for name in ("normal", "twin", "blind", "direct", "described")]
    questions = [a_choice("three", n_options=3), a_choice("truth", n_options=2, form=Form.YES_NO)]
    asked = probing.askings(questions, views, 4, {"three": "What happens?", "truth": None})
    found = [one.key for one in option_scores.scorings(asked)]
    assert found == [
        *(("three", view, sample) for view in ("normal", "twin", "blind") for sample in range(3)),
        *(("truth", view, 0) for view in ("normal", "blind")),
    ]


def test_answers_are_scored_in_the_letters_that_are_shown_and_kept_in_the_questions_own(tmp_path: Path) -> None:
    """A checkpoint that gives the option shown as A a probability of 1/2, in two spellings for sets, and all else 1/100."""

    class Liking:
        def score(self, questions: Any, replies: Any) -> Any:
            for question in questions:
                texts = replies[question.question_id]
                logs = [math.log(0.5 if text == "<answer>A</answer>" else 0.01) for text in texts]
                yield RawScores(question.question_id, logs, None)

        def answer(self, questions: Any) -> Any: ...
        def describe(self) -> dict[str, Any]:
            return {}

    question = a_question("0:0", n_options=2, gold="AB").question
    wanted = list(option_scores.scorings(probing.askings([question], [VIEWS["normal"]], 4, {"0:0": None})))
    option_scores.score(wanted, lambda _: Liking(), settings(), tmp_path)
    rows = option_scores.read_scores(tmp_path)
    half, hundredth, two = (pytest.approx(math.log(share), abs=1e-6) for share in (0.5, 0.01, 0.02))
    assert rows["0:0", "normal", 0].logps == {"": two, "A": half, "B": hundredth, "A,B": two}
    assert rows["0:0", "normal", 1].logps == {"": two, "B": half, "A": hundredth, "A,B": two}
    assert not option_scores.owed(wanted, rows)


def test_answers_are_asked_for_at_once_in_the_views_clip() -> None:
    asked = settings(prompt=Style.TWICE, stop_at=0.9, prefill="<think>")
    found = option_scores.at_once(VIEWS["frozen"], asked)
    assert (found.prompt, found.stop_at, found.prefill, found.damage) == (Style.DIRECT, None, "", "frozen")


@pytest.mark.parametrize(("kind", "engine"), [("solver", "auto"), ("endpoint", "auto"), ("checkpoint", "vllm")])
def test_what_gives_no_such_log_probabilities_is_told(kind: str, engine: str) -> None:
    assert option_scores.unable(kind, engine)
    assert option_scores.unable("checkpoint", "auto") is None
