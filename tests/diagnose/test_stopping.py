"""Stopping behind a first answer: how sure a model was of it, by hand, and replies that end there on every engine."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from diagnose.asking import answers, settings
from vt_command import one_error, vt

from videothinker import store
from videothinker.answers import Style
from videothinker.answers.twice import FALLBACK
from videothinker.curated import NO_LABELS, Curated
from videothinker.diagnose import run
from videothinker.diagnose.answerer import RawReply
from videothinker.diagnose.checkpoint_answerer import open_checkpoint
from videothinker.diagnose.engines.base import Row
from videothinker.diagnose.engines.graphs import GraphsEngine
from videothinker.diagnose.engines.transformers import TransformersEngine
from videothinker.diagnose.feed import QuestionFeed
from videothinker.diagnose.prompts import put_by, write_prompts
from videothinker.diagnose.protocols import ours
from videothinker.diagnose.reply import Reply
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.diagnose.stopping import FirstAnswer, Gate, Watch, first_answer
from videothinker.errors import VtError
from videothinker.frames import read_clip
from videothinker.models import tiny
from videothinker.models.decoder import Begun, Written
from videothinker.models.load import load
from videothinker.models.saved_prompt import save_prompt
from videothinker.prompts import Asked
from videothinker.records import Status


def found(*pieces: tuple[str, float]) -> tuple[int, float] | None:
    """Tokens up to the box's end, and the confidence, of a reply that is written in these pieces of these probabilities."""
    ends, text = [], ""
    for piece, _ in pieces:
        text += piece
        ends.append(len(text))
    answer = first_answer(text, ends, [math.log(chance) for _, chance in pieces])
    return None if answer is None else (answer.n_tokens, round(answer.confidence, 9))


@pytest.mark.parametrize(
    ("pieces", "expected", "why"),
    [
        ([("\\boxed", 0.1), ("{", 0.1), ("A", 0.8), ("}", 0.1)], (4, 0.8), "the box itself does not count"),
        (
            [("\\boxed", 1), ("{", 1), ("A", 0.9), (",", 0.01), (" C", 0.4), ("}", 1), (" <think>", 0.2)],
            (6, 0.6),  # sqrt(0.9 * 0.4)
            "the comma does not count, nor what comes behind",
        ),
        ([("\\boxed", 1), ("{A", 0.5), ("}\n", 0.9), ("x", 0.1)], (3, 0.5), "a letter and a brace in a token"),
        ([("\\boxed{", 1), ("A,C", 0.25), (",D", 0.64), ("}", 1)], (4, 0.4), "a token counts once, however many letters"),
        ([("\\boxed{A}", 0.3)], (1, 0.3), "all in one token"),
        ([("\\", 0.1), ("boxed{", 1), ("y", 0.5), ("es", 0.98), ("}", 1)], (5, 0.7), "a word's tokens"),
        ([("\\boxed{", 1), ("\\", 0.1), ("text", 0.1), ("{", 0.1), ("B", 0.7), ("}}", 1)], (6, 0.7), "no command of LaTeX"),
        ([("\\boxed{", 1), ("(", 0.1), ("B", 0.7), (")", 0.1), (" a cube", 0.1), ("}", 1)], (6, 0.7), "the letter alone"),
        ([("\\boxed{", 1), ("12", 0.7), ("}", 1)], (3, 0.7), "a number"),
        ([("Well", 0.1), (" \\boxed{", 1), ("B", 0.7), ("}", 1)], (4, 0.7), "text before the box"),
        ([("\\boxed{", 1), ("\\boxed{", 1), ("B", 0.7), ("}", 1), ("}", 0.1)], (4, 0.7), "a box in a box ends first"),
        ([("\\boxed{", 1), ("A", 0.7)], None, "the box is not closed"),
        ([("\\boxed{", 1), (",", 0.7), ("}", 1)], None, "nothing that could be an answer"),
        ([("\\boxed{", 1), (FALLBACK, 0.9), ("}", 1)], None, "the fallback sentence"),
        ([("\\boxed{", 1), (FALLBACK, 0.9), (" A", 0.9), ("}", 1), ("\\boxed{A}", 1)], None, "and nothing makes up for it"),
        ([("<think>", 1), ("\\boxed{A}", 0.9), ("</think>", 1)], None, "a box in the thinking"),
        ([("</think>", 1), ("\\boxed{A}", 0.9)], None, "nothing says where the thinking began"),
        ([], None, "nothing written"),
    ],
)  # fmt: skip
def test_confidence(pieces: list[tuple[str, float]], expected: tuple[int, float] | None, why: str) -> None:
    assert found(*pieces) == expected, why


TEXTS = dict(enumerate(["", "\\boxed", "{", "A", "}", "<think>", "so", "</think>", "B", "\u2019", ",", "{A}"]))
"""Tokens of a made-up tokenizer; 0 is the end token."""


def decode(tokens: list[int]) -> str:
    return "".join(TEXTS[token] for token in tokens)


THINKS = [1, 2, 3, 4, 5, 6, 7, 1, 2, 8, 4, 0]  # \boxed{A}<think>so</think>\boxed{B}
SURE, UNSURE = ([-0.1, -0.1, logprob, *[-0.1] * 9] for logprob in (math.log(0.97), math.log(0.96)))


def test_a_sure_reply_is_cut_behind_its_first_box_and_others_are_left() -> None:
    gate = Gate(decode, math.exp(math.log(0.97)))
    cut = gate.cut(Reply(THINKS, SURE, cut=False))
    assert cut == Reply(THINKS[:4], SURE[:4], cut=False, stopped=True)
    assert (cut.content, gate.cut(cut)) == (THINKS[:4], cut), "a reply that ended so has no end token, and is not cut again"
    assert gate.cut(Reply(THINKS, UNSURE, cut=False)) == Reply(THINKS, UNSURE, cut=False)
    assert Gate(decode, None).cut(Reply(THINKS, SURE, cut=False)) == Reply(THINKS, SURE, cut=False)
    # At the token limit right behind the box: it is the stop that ended it.
    assert gate.cut(Reply(THINKS[:4], SURE[:4], cut=True)) == cut


@pytest.mark.parametrize("every", [1, 3, 4, 12])
def test_however_seldom_it_is_looked_the_same_rows_end(every: int) -> None:
    falls = [1, 2, 9, 4, 1, 11, 5, 6, 7, 1, 11, 0]  # an empty box first, then one with an answer: the first closed one counts
    rows, sure = [THINKS, THINKS, falls], [SURE, UNSURE, SURE]
    watch = Watch(Gate(decode, 0.97), 3)
    for n in range(every, 13, every):
        stopped = watch.look([row[:n] for row in rows], [each[:n] for each in sure])
    assert (stopped, watch.done) == ([True, False, False], True)


def boxing(processor: Any, chosen: DiagnosisSettings) -> Gate:
    """A gate as if the taught checkpoint, which answers in tags behind a thought, gave a first answer in a box."""

    def decode(tokens: Sequence[int]) -> str:
        text: str = processor.tokenizer.decode(tokens, skip_special_tokens=True)
        for tag, said in (("<think>", ""), ("</think>", ""), ("<answer>", "\\boxed{"), ("</answer>", "}")):
            text = text.replace(tag, said)
        return text

    return Gate(decode, chosen.stop_at)


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_engines_end_the_same_rows_at_the_same_tokens(taught: Path, colours: Curated, temperature: float) -> None:
    """Both engines' replies with a stop are those without it, cut; some stop and some do not."""
    chosen = settings(temperature=temperature, prompt=Style.TWICE)
    plain = TransformersEngine(load(str(taught)), chosen)
    rows = prompts_of(plain, colours, chosen)
    whole = plain.reply(rows)
    gate = boxing(plain.loaded.processor, chosen)
    found = [gate.first(reply.tokens, reply.logprobs) for reply in whole]
    sure = sorted(each.confidence for each in found if each)
    gate.at = (sure[0] + sure[1]) / 2  # so that one of them, and what has no answer, goes on
    expected = [gate.cut(reply) for reply in whole]
    assert sum(reply.stopped for reply in expected) == len(sure) - 1 > 0
    for engine in (plain, GraphsEngine(load(str(taught)), chosen)):
        engine._gate = gate
        stopped = engine.reply(rows)
        assert [(r.tokens, r.cut, r.stopped) for r in stopped] == [(r.tokens, r.cut, r.stopped) for r in expected]
        for reply, other in zip(stopped, expected, strict=True):
            assert reply.logprobs == pytest.approx(other.logprobs, abs=1e-4)


class AtOnce:
    """Ends rows of these numbers at its first look, and needs no other."""

    def __init__(self, *ends: int) -> None:
        self._ends, self.lengths = ends, []

    @property
    def done(self) -> bool:
        return bool(self.lengths)

    def look(self, tokens: Sequence[Sequence[int]], logprobs: Sequence[Sequence[float]]) -> list[bool]:
        assert [len(row) for row in tokens] == [len(row) for row in logprobs]
        self.lengths.append([len(row) for row in tokens])
        return [row in self._ends for row in range(len(tokens))]


def prompts_of(engine: TransformersEngine | GraphsEngine, curated: Curated, chosen: DiagnosisSettings) -> list[Row]:
    feed, questions = QuestionFeed(engine.loaded, chosen), curated.questions("dev")
    prompts = write_prompts(engine.loaded.processor, questions, put_by(settings()))
    shown = {q.clip.path: feed.show(read_clip(path, n_frames=16)) for q in questions if (path := curated.clip(q))}
    return feed.rows([(shown[question.clip.path], [question]) for question in questions], prompts)


@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_the_decoder_leaves_replies_once_it_is_decided_of_each_and_goes_on_in_any_batch(
    taught: Path, colours: Curated, temperature: float
) -> None:
    """It looks behind every fourth token; what has begun is the whole reply once it was gone on with, whoever is beside it."""
    chosen = settings(temperature=temperature)
    engine = GraphsEngine(load(str(taught)), chosen)
    rows = prompts_of(engine, colours, chosen)
    asked = engine._prompts(rows)
    whole = engine._decoder.write(**asked)
    watch = AtOnce(1, 3)
    found = engine._decoder.begin(**asked, watch=watch)
    assert watch.lengths == [[4] * len(rows)]
    assert [isinstance(each, Begun) for each in found] == [row not in (1, 3) for row in range(len(rows))]
    assert [(each.written if isinstance(each, Begun) else each).tokens for each in found] == [each.tokens[:4] for each in whole]
    going = [row for row, each in enumerate(found) if isinstance(each, Begun)]
    for batch in (going, going[::-1], going[:1]):
        choice = engine._choice([rows[row] for row in batch])
        begun = [each for row in batch if isinstance(each := found[row], Begun)]
        rest = engine._decoder.go_on(begun, max_new_tokens=asked["max_new_tokens"], choice=choice)
        assert [each.tokens for each in rest] == [whole[row].tokens for row in batch]
        for each, row in zip(rest, batch, strict=True):
            assert each.logprobs == pytest.approx(whole[row].logprobs, abs=1e-4)


def test_a_reply_that_was_begun_is_cut_at_the_limit_of_a_whole_one(taught: Path, colours: Curated) -> None:
    chosen = settings(max_new_tokens=7)
    engine = GraphsEngine(load(str(taught)), chosen)
    asked = engine._prompts(prompts_of(engine, colours, chosen))
    found = [each for each in engine._decoder.begin(**asked, watch=AtOnce()) if isinstance(each, Begun)]
    shorter = found[0]._replace(written=Written(*(part[:4] for part in found[0].written)))
    assert [len(each.tokens) for each in engine._decoder.go_on([shorter, found[1]], max_new_tokens=7)] == [7, 7]
    assert [len(each.tokens) for each in engine._decoder.go_on([shorter, found[1]], max_new_tokens=5)] == [5, 5]


@pytest.mark.parametrize("engine", ["transformers", "graphs"])
@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_those_that_go_on_do_so_together_whatever_batch_they_began_in(
    taught: Path, colours: Curated, engine: str, temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six questions in batches of two: one of each pair goes on, at least, and waits for another. No reply is another one."""
    chosen = settings(prompt=Style.TWICE, engine=engine, batch_size=2, temperature=temperature)
    monkeypatch.setattr("videothinker.diagnose.checkpoint_answerer.put_by", lambda _: put_by(settings()))
    for room in ("engines.transformers", "engines.graphs", "checkpoint_answerer"):
        monkeypatch.setattr(f"videothinker.diagnose.{room}.gate_of", boxing)
    whole = answers(open_checkpoint(str(taught), curated=colours, settings=chosen), colours)
    sure = sorted(each.first.confidence for each in whole.values() if each.first)
    at = sure[len(sure) // 2]
    checkpoint = open_checkpoint(str(taught), curated=colours, settings=msgspec.structs.replace(chosen, stop_at=at))
    together: list[int] = []
    go_on = checkpoint.engine.go_on
    monkeypatch.setattr(checkpoint.engine, "go_on", lambda begun: (together.append(len(begun)), go_on(begun))[1])
    found = answers(checkpoint, colours)
    n_on = sum(not each.stopped for each in found.values())
    assert 0 < n_on < len(found)
    for key, each in found.items():
        stops = (first := whole[key].first) is not None and first.confidence >= at
        assert each.stopped == stops
        assert each.n_tokens == (first.n_tokens if first and stops else whole[key].n_tokens)
        if not stops:
            assert each.reply == whole[key].reply
            assert each.logprob == pytest.approx(whole[key].logprob, abs=1e-4)
    assert sum(together) <= n_on, "what ends by itself before it is left goes on nowhere"
    assert max(together, default=0) <= 2
    assert checkpoint._begun == []


def test_what_is_kept_of_a_reply(colours: Curated) -> None:
    question = colours.questions("dev")[0]
    reply = RawReply(
        question_id=question.question_id, reply="\\boxed{A}", n_tokens=4, first=FirstAnswer(4, 0.98765432), stopped=True
    )
    row = run.grade(question, reply, NO_LABELS, ours.TWICE)
    assert (row.chosen, row.first, row.second) == (("A",), ("A",), ("A",))
    assert (row.confidence, row.first_tokens, row.stopped, row.status, row.tokens) == (0.987654, 4, True, Status.OK, 4)
    other = msgspec.json.encode(
        run.grade(question, RawReply(question_id=question.question_id, reply="\\boxed{A}"), NO_LABELS, ours.TWICE)
    )
    assert not {"confidence", "first_tokens", "stopped"} & set(msgspec.json.decode(other))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"stop_at": 0.9}, "stop_at is 0.9, expected none unless prompt is twice"),
        ({"stop_at": 0.9, "prompt": None}, "expected none unless prompt is twice"),
        ({"stop_at": 1.1, "prompt": Style.TWICE}, "stop_at is 1.1, expected 0 to 1"),
    ],
)
def test_a_stop_without_a_first_answer_is_refused(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(VtError, match=expected):
        settings(**changes)


def test_a_run_with_another_stop_is_another_run(taught: Path, colours: Curated, tmp_path: Path) -> None:
    models = {"x": "solver:gold"}
    run.diagnose(run.plan(models, colours, settings(prompt=Style.TWICE), tmp_path), run.open_answerer)
    run.diagnose(run.plan(models, colours, settings(prompt=Style.TWICE, engine="graphs"), tmp_path), run.open_answerer)
    with pytest.raises(VtError, match="stop_at"):
        run.plan(models, colours, settings(prompt=Style.TWICE, stop_at=0.9), tmp_path)


def test_a_checkpoint_that_was_trained_to_answer_twice_is_stopped_without_being_told_its_style(
    colours: Curated, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, trained = tiny.build(tmp_path / "plain"), tiny.build(tmp_path / "trained")
    save_prompt(trained, Asked(Style.TWICE, None))
    options = [
        "diagnose",
        "--data",
        colours.folder,
        "--stop-at",
        "0.9",
        "--frames",
        "2",
        "--max-new-tokens",
        "2",
        "--limit",
        "2",
    ]
    models = ["--model", f"mine={trained}", "--model", "gold=solver:gold"]
    assert vt(*options, *models, "--no-report", "--out", tmp_path / "out") == 0
    kept = store.read_json(tmp_path / "out" / "mine" / "run.json", dict[str, Any])["settings"]
    assert (kept["prompt"], kept["stop_at"]) == ("twice", 0.9)
    capsys.readouterr()
    assert vt(*options, *models, "--model", f"other={plain}", "--out", tmp_path / "refused") == 2
    assert "stop_at is 0.9, expected none unless prompt is twice" in one_error(capsys)
