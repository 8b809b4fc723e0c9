"""Probes: what is asked under each view, how replies become labels, and that a killed probe goes on.

Built-in solvers stand for checkpoints where no clip matters; the taught checkpoint of conftest is asked where one does.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from curated_factory import a_choice, a_question, write_curated, write_unlabelled
from diagnose.asking import settings
from mixed_set import write_set
from vt_command import one_error, vt

from videothinker import prompts, shards, store, tables
from videothinker.answers import Style
from videothinker.curate.where import matching
from videothinker.curated import Curated, open_curated
from videothinker.diagnose import option_scores, probed, probing
from videothinker.diagnose.answerer import RawReply
from videothinker.diagnose.prompts import put_by
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.diagnose.views import VIEWS, chosen_views, deciding
from videothinker.errors import VtError
from videothinker.models import tiny
from videothinker.models.saved_prompt import save_prompt
from videothinker.observers.probe import Band
from videothinker.prompts import template
from videothinker.recipes import probe as recipe
from videothinker.records import Category, Clip, Form, OptionScores, ProbeReply, ProbeSummary, Question, Status
from videothinker.records.label import COLUMNS

NORMAL, TWIN, BLIND = VIEWS["normal"], VIEWS["twin"], VIEWS["blind"]


class Scripted:
    """Answers the first option that is shown, and remembers what it was asked under which settings."""

    def __init__(self, fails: Sequence[str] = ()) -> None:
        self.asked: list[tuple[DiagnosisSettings, Question]] = []
        self.fails = fails

    def at(self, each: DiagnosisSettings) -> "Scripted":
        self.settings = each
        return self

    def answer(self, questions: Sequence[Question]) -> Iterator[RawReply]:
        for question in questions:
            self.asked.append((self.settings, question))
            lost = question.question_id.split()[0] in self.fails
            yield RawReply(
                question_id=question.question_id,
                reply=None if lost else "<answer>A</answer>",
                error="no clip" if lost else None,
            )

    def describe(self) -> dict[str, Any]:
        return {}


def test_options_move_from_sample_to_sample_and_letters_are_moved_back(tmp_path: Path) -> None:
    question, scripted = a_choice("q", n_options=3), Scripted()
    wanted = list(probing.askings([question], [NORMAL], 4, {"q": None}))
    probing.ask(wanted, scripted.at, settings(), tmp_path)
    assert [asked.options[0] for _, asked in scripted.asked] == ["event 0", "event 1", "event 2", "event 0"]
    rows = probing.read_replies(tmp_path)
    assert [rows["q", "normal", sample].chosen for sample in range(4)] == [("A",), ("B",), ("C",), ("A",)]


def test_each_view_asks_what_it_says(tmp_path: Path) -> None:
    scripted = Scripted()
    views = chosen_views("normal,twin,blind,direct,described", "<think>I see")
    wanted = list(probing.askings([a_choice("q")], views, 1, {"q": "What happens in the video?"}))
    probing.ask(wanted, scripted.at, settings(prefill="<think>I see"), tmp_path)
    seen = {asked.question_id.split()[1]: (each, asked.text) for each, asked in scripted.asked}
    assert seen["twin"][1] == "What happens in the video?"
    assert seen["normal"][1] == "What happens in question q?"
    assert [name for name, (each, _) in seen.items() if each.damage == "blank"] == ["blind"]
    assert [name for name, (each, _) in seen.items() if each.prompt == "direct"] == ["direct"]
    assert [name for name, (each, _) in seen.items() if each.prefill] == ["described"]


def test_replies_are_read_in_the_style_that_the_view_asked_for(tmp_path: Path) -> None:
    class Cut(Scripted):
        def answer(self, questions: Sequence[Question]) -> Iterator[RawReply]:
            for question in questions:
                yield RawReply(question_id=question.question_id, reply=r"\boxed{A}<think>it", truncated=True)

    wanted = list(probing.askings([a_choice("q")], [NORMAL, VIEWS["direct"]], 1, {"q": None}))
    probing.ask(wanted, Cut().at, settings(prompt=Style.TWICE), tmp_path)
    rows = probing.read_replies(tmp_path)
    assert rows["q", "normal", 0].chosen is None  # the second answer never came
    assert rows["q", "direct", 0].chosen == ("A",)


def test_a_question_without_a_twin_is_not_asked_as_one() -> None:
    wanted = list(probing.askings([a_choice("q")], [NORMAL, TWIN], 2, {"q": None}))
    assert [one.key for one in wanted] == [("q", "normal", 0), ("q", "normal", 1)]


def test_only_what_is_missing_is_asked_again(tmp_path: Path) -> None:
    questions = [a_choice("q"), a_choice("r")]
    wanted = list(probing.askings(questions, [NORMAL], 2, {"q": None, "r": None}))
    probing.ask(wanted[:3], Scripted(fails=["q"]).at, settings(), tmp_path)
    missing = probing.owed(wanted, probing.read_replies(tmp_path))
    assert [one.key for one in missing] == [("q", "normal", 0), ("q", "normal", 1), ("r", "normal", 1)]
    probing.ask(missing, Scripted().at, settings(), tmp_path)
    rows = probing.read_replies(tmp_path)
    assert not probing.owed(wanted, rows)
    assert rows["q", "normal", 0].status is Status.OK


def a_reply(sample: int, chosen: str | None, view: str = "twin", question_id: str = "0:0") -> ProbeReply:
    return ProbeReply(
        question_id=question_id,
        view=view,
        sample=sample,
        reply="",
        chosen=None if chosen is None else tuple(chosen),
        status=Status.OK,
    )


def test_a_row_has_the_usual_answer_and_what_each_view_says() -> None:
    question = a_question("0:0", gold="B").question
    replies = [a_reply(0, "B"), a_reply(1, "B"), a_reply(2, None), a_reply(3, "A"), a_reply(0, "A", "normal")]
    heards, lost = probed.heard(
        [question], [NORMAL, TWIN], 4, {(row.question_id, row.view, row.sample): row for row in replies}
    )
    (row,) = probed.label_rows([question], heards, {"twin": {"0:0": -1.5}}, TWIN, Band(), "probe:x:twin")
    assert (row["category"], row["answer"]) == ("unsure", "B")  # 2 of 4 right, 1 of 4 wrong
    assert (row["twin"], row["unread_twin"], row["normal"], row["unread_normal"]) == (0.5, 1, 0.0, 0)
    assert (row["margin_twin"], row["margin_normal"]) == (-1.5, None)
    assert lost == {"normal": set(), "twin": set()}


def test_precision_is_counted_against_the_log(tmp_path: Path) -> None:
    """Four questions: the probe says o, o, i, unsure; the log's oracle says o, i, i, o."""
    golds = {"0:0": "A", "1:0": "A", "2:0": "A", "3:0": "A"}
    log = {"0:0": "A", "1:0": "B", "2:0": "B", "3:0": "A"}
    asked = [a_question(key, gold=gold, observer=log[key]) for key, gold in golds.items()]
    curated = write_curated(tmp_path, {"dev": asked}, scenes=())
    replies = {
        (key, "twin", sample): a_reply(sample, chosen, question_id=key)
        for key, answers in {"0:0": "AA", "1:0": "AA", "2:0": "BB", "3:0": "AB"}.items()
        for sample, chosen in enumerate(answers)
    }
    heards, _ = probed.heard(curated.questions("dev"), [TWIN], 2, replies)
    margins = {"twin": {"0:0": 2.0, "1:0": 1.0, "2:0": -3.0}}
    first = {"twin": {"0:0": 2.0, "1:0": 3.0, "2:0": -3.0, "3:0": 2.5}}
    against = probed.against_logs(heards, TWIN, Band(), curated.labels, margins, first)
    oracle = next(one for one in against if one.rule == "oracle")
    assert oracle.confusion == {
        "observational": {"observational": 1, "inferential": 1},
        "inferential": {"observational": 0, "inferential": 1},
        "unsure": {"observational": 1, "inferential": 0},
    }
    assert oracle.precision["observational"].value == 0.5
    assert oracle.precision["inferential"].value == 1.0
    assert oracle.recall["observational"].value == 0.5
    assert oracle.auc.value == (0.5 + 1 + 0 + 1) / 4  # pass rates 1, 0.5 against 1, 0
    assert oracle.auc_margin is not None
    assert oracle.auc_margin.value == 1.0  # 2 against 1 and -3; the fourth question has none
    once = oracle.one_sample
    assert once is not None
    assert once.n_questions == 4
    assert once.reply.value == (0.5 + 1 + 0.5 + 1) / 4  # first replies right, right; right, wrong
    assert once.margin.value == (0 + 1 + 0 + 1) / 4  # 2 and 2.5 against 3 and -3
    assert once.gain.value == -0.25
    halves = probed.halves_agree(heards["twin"], Band())
    assert halves is not None
    assert halves.value == 0.75  # 3:0 is right once and wrong once


def test_the_view_that_decides() -> None:
    assert deciding([NORMAL, BLIND, TWIN], None) is TWIN
    assert deciding([NORMAL, BLIND], None) is BLIND
    assert deciding([NORMAL, BLIND], "normal") is NORMAL
    for views, by in (([NORMAL], None), ([NORMAL], "twin")):
        with pytest.raises(VtError):
            deciding(views, by)


@pytest.mark.parametrize(
    ("listed", "prefill"), [("nonsense", ""), ("twin,twin", ""), ("", ""), ("described", ""), ("twin", "<think>")]
)
def test_views_that_cannot_be_asked_are_refused(listed: str, prefill: str) -> None:
    with pytest.raises(VtError, match="--views"):
        chosen_views(listed, prefill)


@pytest.fixture
def asked(tmp_path: Path) -> Curated:
    """Eight counterfactual questions about four clips, and one that supposes nothing."""
    dev = [a_question(f"{scene}:{qid}", n_options=3, gold="AB") for scene in range(4) for qid in (0, 1)]
    dev.append(a_question("4:0", text="What colour is the cube?"))
    return write_curated(tmp_path / "curated", {"dev": dev}, scenes=())


def test_a_probe_through_the_command_line(asked: Curated, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "twin.parquet"
    probe = ("curate", "probe", "--data", asked.folder, "--model", "solver:gold", "--out", out)
    assert vt(*probe, "--samples", "2") == 0
    printed = capsys.readouterr().out
    assert "it supposes nothing" in printed
    rows = tables.read(out, COLUMNS, more=True)
    assert len(rows) == 8
    assert {(row["category"], row["answer"], row["twin"], row["observer"], row["rule"]) for row in rows} == {
        ("observational", "A,B", 1.0, "probe:solver:gold:twin", "twin")
    }
    labels = open_curated(asked.folder, label_files=[out]).labels_by(None)
    assert labels.category("0:0") is Category.OBSERVATIONAL
    summary = store.read_json(out.with_suffix(".json"), ProbeSummary)
    assert (summary.n_asked, sum(summary.categories.values()), summary.unlabelled) == (9, 8, {"it supposes nothing": 1})
    assert "Against the collision log" in out.with_suffix(".md").read_text()
    page = out.with_suffix(".html").read_text()
    assert all(said in page for said in ("Against the collision log", "Without the gray cube, what", "8 labelled questions"))

    assert vt(*probe, "--samples", "2", "--json") == 0
    shown = capsys.readouterr()
    assert msgspec.json.decode(shown.out) == msgspec.json.decode(out.with_suffix(".json").read_bytes())
    assert "it supposes nothing" in shown.err

    replies = tmp_path / "twin.replies" / "replies.jsonl"
    before = replies.read_bytes()
    assert vt(*probe, "--samples", "3") == 0
    assert replies.read_bytes().startswith(before)  # a sample more costs itself alone
    assert replies.read_bytes().count(b"\n") == 3 * (9 + 8)
    capsys.readouterr()
    assert vt(*probe, "--temperature", "0") == 2
    assert "temperature" in one_error(capsys)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--model", "solver:observer"), "solver:observer"),
        (("--model", "solver:gold", "--twin-column", "no such"), "--twin-column no such"),
        (("--model", "solver:gold", "--observational-from", "0.2"), "--observational-from 0.2"),
        (("--model", "solver:gold", "--samples", "0"), "--samples is 0"),
        (("--model", "solver:gold", "--split", "test"), "no split 'test'"),
    ],
)
def test_mistakes_are_told_in_a_line(
    asked: Curated, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], said: str
) -> None:
    assert vt("curate", "probe", "--data", asked.folder, "--out", tmp_path / "x.parquet", *options) == 2
    assert said in one_error(capsys)
    assert not (tmp_path / "x.parquet").exists()


def test_shards_ask_and_one_command_labels(asked: Curated, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    probe = ("curate", "probe", "--data", asked.folder, "--model", "solver:random", "--samples", "2")
    one, out = tmp_path / "one.parquet", tmp_path / "out.parquet"
    assert vt(*probe, "--out", one) == 0
    assert vt(*probe, "--out", out, "--shard", "2/2") == 0
    assert "1 of 2 shards are finished; once all are, the same command without --shard" in capsys.readouterr().out
    assert not out.exists()
    assert vt(*probe, "--out", out) == 2
    assert "shard 1 of 2 is not finished" in one_error(capsys)
    assert vt(*probe, "--out", out, "--shard", "1/2", "--seed", "7") == 2
    assert "settings.seed was 42, is 7" in one_error(capsys)
    assert vt(*probe, "--out", out, "--shard", "1/2") == 0
    capsys.readouterr()
    assert vt(*probe, "--out", out) == 0
    assert "replies" not in capsys.readouterr().err  # nothing is asked again
    assert out.read_bytes() == one.read_bytes()
    assert vt(*probe, "--out", out) == 0  # and nothing is taken in twice
    held = [len((path.with_suffix(".replies") / "replies.jsonl").read_text().splitlines()) for path in (one, out)]
    assert held[0] == held[1]


def test_scores_of_shards_are_taken_in_once(tmp_path: Path) -> None:
    part = shards.Shard(1, 1).folder(tmp_path)
    rows = [
        OptionScores(question_id="q", view="normal", sample=0, logps={"A": -1.0, "B": -2.5}),
        OptionScores(question_id="r", view="normal", sample=0, logps=None, error="no clip"),
    ]
    store.write_json(part / "run.json", {"model": "m"})
    store.write_jsonl(part / option_scores.SCORES, rows)
    shards.mark(part, shards.Shard(1, 1), n_items=2, started=datetime.now(UTC))
    for _ in range(2):
        recipe.take_in(tmp_path, {"model": "m"})
    assert (tmp_path / option_scores.SCORES).read_bytes() == (part / option_scores.SCORES).read_bytes()
    with pytest.raises(VtError, match="model was"):
        recipe.take_in(tmp_path, {"model": "another"})


def test_a_checkpoint_that_looks_is_wrong_when_blind(colours: Curated, taught: Path, tmp_path: Path) -> None:
    out = tmp_path / "blind.parquet"
    code = vt(
        "curate", "probe", "--data", colours.folder, "--model", taught, "--views", "normal,blind", "--samples", "1",
        "--temperature", "0", "--max-new-tokens", "40", "--engine", "transformers", "--dtype", "float32", "--no-clip-cache",
        "--no-clip-cache", "--out", out,
    )  # fmt: skip
    assert code == 0
    rows = tables.read(out, COLUMNS, more=True)
    assert [row["normal"] for row in rows] == [1.0] * 6
    assert sum(row["blind"] for row in rows) < 6  # grey frames have one colour, and the clips three


# ---- prompts and protocols ----


def test_a_twin_goes_through_the_prompt_that_is_asked_in() -> None:
    made = template.make('{% set style = "direct" %}Watch. {{ question }} {% for o in options %}{{ o }};{% endfor %}', "mine")
    asked = settings(prompt=Style.DIRECT, template=made)
    (one,) = probing.askings([a_choice("q", n_options=2)], [TWIN], 1, {"q": "What happens in the video?"})
    assert put_by(probing.settings_of(TWIN, asked))(one.put).user == "Watch. What happens in the video? event 0;event 1;"
    direct = probing.settings_of(VIEWS["direct"], settings(protocol="lmms-eval", prompt=None))
    assert (direct.protocol, direct.prompt, direct.template) == ("ours", Style.DIRECT, None)


def test_what_a_protocol_guesses_is_no_reply(tmp_path: Path) -> None:
    """LongVideoBench's evaluator draws a random option where it finds no letter."""

    class Says(Scripted):
        def answer(self, questions: Sequence[Question]) -> Iterator[RawReply]:
            for question in questions:
                reply = "B" if question.question_id.endswith("0") else "It cannot be told."
                yield RawReply(question_id=question.question_id, reply=reply)

    question = msgspec.structs.replace(a_choice("q", gold="B"), source="LongVideoBench")
    wanted = list(probing.askings([question], [NORMAL], 2, {"q": None}))
    probing.ask(wanted, Says().at, settings(protocol="official", prompt=None), tmp_path)
    rows = probing.read_replies(tmp_path)
    assert rows["q", "normal", 0].chosen == ("B",)
    assert (rows["q", "normal", 1].chosen, rows["q", "normal", 1].status) == (None, Status.NO_ANSWER)


def test_a_checkpoint_is_probed_in_the_prompt_of_its_training(
    colours: Curated, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tiny.build(tmp_path / "tiny"), tmp_path / "x.parquet"
    save_prompt(folder, prompts.Asked(Style.DIRECT, None))
    probe = (
        "curate", "probe", "--data", colours.folder, "--model", folder, "--views", "normal,blind", "--samples", "1", "--limit",
        "1", "--max-new-tokens", "2", "--engine", "transformers", "--no-clip-cache", "--no-margins", "--out", out,
    )  # fmt: skip
    assert vt(*probe) == 0
    assert f"the training of {folder} sets prompt direct" in capsys.readouterr().err.replace("\n", " ")
    summary = store.read_json(out.with_suffix(".json"), ProbeSummary)
    assert summary.asked == {"protocol": "ours", "prompt": "direct", "template": None}
    assert summary.no_margins == "--no-margins was given"
    assert vt(*probe, "--prompt", "cot") == 2
    told = capsys.readouterr().err
    assert "was trained with the prompt direct, and is asked in cot" in told
    assert 'settings.prompt was "direct", is "cot"' in told
    assert vt(*probe, "--protocol", "official") == 2
    assert "protocol official: does not say how CLEVRER is asked" in one_error(capsys)
    assert vt(*probe, "--prompt", "protocol") == 2
    assert "whose words?" in one_error(capsys)


# ---- forms and margins ----


@pytest.fixture
def of_each_form(colours: Curated) -> Curated:
    """Three questions about the red clip, which it is of, and about the green one, whose file is not there."""
    assert colours.videos_root is not None
    (colours.videos_root / "green.mp4").unlink()
    questions = [
        msgspec.structs.replace(
            a_choice(f"{colour}-{form}", n_options=n, form=form, gold="A", group=colour), clip=Clip(path=f"{colour}.mp4")
        )
        for colour in ("red", "green")
        for form, n in ((Form.CHOICE, 3), (Form.LETTERS, 2), (Form.YES_NO, 2))
    ]
    folder = colours.folder / "forms"
    write_unlabelled(folder, {"test": questions})
    return open_curated(folder, colours.videos_root)


def test_every_form_has_margins_and_a_lost_clip_costs_its_own(
    of_each_form: Curated, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, folder = tmp_path / "x.parquet", tiny.build(tmp_path / "tiny")
    probe = (
        "curate", "probe", "--data", of_each_form.folder, "--videos", str(of_each_form.videos_root), "--model", folder,
        "--views", "normal,blind,direct", "--samples", "2", "--max-new-tokens", "2", "--engine", "transformers",
        "--no-clip-cache", "--out", out,
    )  # fmt: skip
    assert vt(*probe, "--json") == 0
    summary = msgspec.json.decode(capsys.readouterr().out, type=ProbeSummary)
    assert (summary.unlabelled, summary.no_margins, summary.without_margin) == ({probed.LOST: 3}, None, {})
    assert [one.n_margins for one in summary.views] == [3, 3, 0]
    assert summary.views[1].margin_change is not None
    rows = tables.read(out, COLUMNS, more=True)
    assert [row["question_id"] for row in rows] == ["red-choice", "red-letters", "red-yes-no"]
    assert all(isinstance(row[f"margin_{view}"], float) for row in rows for view in ("normal", "blind"))
    assert "margin_direct" not in rows[0]
    data = open_curated(of_each_form.folder, label_files=[out])
    below = {row["question_id"] for row in rows if row["margin_blind"] < 0}
    assert matching(data, "test", "margin_blind < 0").ids == below
    scores = (tmp_path / "x.replies" / "margins.jsonl").read_bytes()
    # Two ways to show the options, one of yes and no, in two views; and those of the lost clip
    assert scores.count(b"\n") == 2 * (2 * 2 + 1) * 2


def test_solvers_have_no_margins_and_a_line_says_so(asked: Curated, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "x.parquet"
    assert vt("curate", "probe", "--data", asked.folder, "--model", "solver:random", "--samples", "1", "--out", out) == 0
    assert "There are no margins: a built-in solver has no log-probabilities." in capsys.readouterr().out
    rows = tables.read(out, COLUMNS, more=True)
    assert {row["margin_twin"] for row in rows} == {None}
    assert matching(open_curated(asked.folder, label_files=[out]), "dev", "margin_twin < 0").ids == set()


@pytest.mark.parametrize(
    ("questions", "said"),
    [([], "has no questions"), ([a_choice("q")], "none of 1 questions has a factual twin (1 because it supposes nothing)")],
)
def test_sets_with_nothing_to_ask_are_refused_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], questions: list[Question], said: str
) -> None:
    write_unlabelled(tmp_path / "curated", {"test": questions} if questions else {})
    assert vt("curate", "probe", "--data", tmp_path / "curated", "--model", "solver:gold", "--out", tmp_path / "x.parquet") == 2
    assert said in one_error(capsys)


def test_one_question_has_a_label_and_no_interval(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_unlabelled(tmp_path / "curated", {"test": [a_choice("q", n_options=2, form=Form.YES_NO)]})
    out = tmp_path / "x.parquet"
    probe = (
        "curate",
        "probe",
        "--data",
        tmp_path / "curated",
        "--model",
        "solver:gold",
        "--views",
        "normal,blind",
        "--out",
        out,
    )
    assert vt(*probe, "--json") == 0
    summary = msgspec.json.decode(capsys.readouterr().out, type=ProbeSummary)
    assert (summary.views[1].pass_rate.value, summary.views[1].pass_rate.ci95) == (1.0, None)
    assert [row["category"] for row in tables.read(out, COLUMNS, more=True)] == ["observational"]


def test_what_a_view_leaves_as_it_is_is_not_asked_under_it() -> None:
    clip, image = a_choice("c"), msgspec.structs.replace(a_choice("i"), clip=Clip(path="i.png"))
    text = msgspec.structs.replace(a_choice("t"), clip=None)
    asked = probing.askings([clip, image, text], [VIEWS[name] for name in ("normal", "blind", "frozen", "direct")], 1, {})
    found = {(one.question.question_id, one.view.name) for one in asked}
    everywhere = {(name, view) for name in "cit" for view in ("normal", "direct")}
    assert found == everywhere | {("c", "blind"), ("c", "frozen"), ("i", "blind")}
    assert [option_scores.why_none(one) for one in (clip, image, text)] == [None, *[option_scores.NO_CLIP] * 2]


def test_a_set_of_clips_images_and_words_is_probed_and_counted(tmp_path: Path) -> None:
    """Two questions about clips, whose answers are numbers, one about an image and one of words."""
    data, checkpoint = write_set(tmp_path), tiny.build(tmp_path / "tiny")
    options = ("curate", "probe", "--data", data.folder, "--model", checkpoint, "--samples", "1", "--max-new-tokens", "2")
    assert vt(*options, "--frames", "2", "--views", "normal,blind", "--out", tmp_path / "blind.parquet") == 0
    found = store.read_json(tmp_path / "blind.json", ProbeSummary)
    assert (found.n_asked, sum(found.categories.values()), found.unlabelled) == (4, 3, {probed.SAME: 1})
    assert found.without_margin == {option_scores.NO_OPTIONS: 2, option_scores.NO_CLIP: 2}
