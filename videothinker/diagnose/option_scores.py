"""How sure a checkpoint is of an answer without writing one: the log-probability that it gives every answer at once.

A question is put as in the style "direct", and behind the prompt each answer that it can have is fed in the words of its form,
"<answer>B</answer>". The sum over the tokens is the natural logarithm of the probability that exactly this is written, so sets
of letters need no special rule: "<answer>A</answer>" and "<answer>A,C</answer>" exclude each other because the tag is closed.
The *margin* of a question is the log-probability of its gold answer minus that of the likeliest other one, in nats:

    >>> margin({("A",): -0.5, ("B",): -1.5, (): -4.0}, gold=("A",))
    1.0

It is above 0 iff the gold answer is the likeliest of all. It costs one pass of the model and no reply; nothing is drawn.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from math import comb, exp, log
from pathlib import Path

import msgspec

from videothinker import answers, store, tables
from videothinker.answers import LETTERS, Answer, Style
from videothinker.answers.rotation import can_rotate, turned_back
from videothinker.answers.style import tagged
from videothinker.diagnose.answerer import Answerer, RawScores, Scorer
from videothinker.diagnose.probing import Asking, Key
from videothinker.diagnose.protocols import OURS
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.diagnose.views import View
from videothinker.progress import Progress, no_progress
from videothinker.records import OptionScores, Question
from videothinker.records.question import Kind

SCORES = "margins.jsonl"
MOST_ANSWERS = 64
"""Most answers of a question that are scored: those of any set of six options, or of one of 64."""
TOO_MANY = f"more than {MOST_ANSWERS} answers are possible"
NO_OPTIONS = "its answer is none of its options"
NO_OTHER = "it has one answer alone"
NO_CLIP = "it shows no clip"
"""Images and words alone go past the feed of clips, which prompts and answers share here."""


def unable(kind: str, engine: str) -> str | None:
    """Why what answers gives no such log-probabilities; None if it does. kind: one of `openers.OPENERS`."""
    if kind == "solver":
        return "a built-in solver has no log-probabilities"
    if kind == "endpoint":
        return "a server tells how likely what it writes was, and of no other answer"
    if engine == "vllm":
        return "vLLM is asked here for what it writes alone; --engine transformers gives margins"
    return None


def has_margin(view: View) -> bool:
    """Whether the view's answers can be scored at once.

    `direct` cannot be told from `normal` where all answer at once, and a reply that is begun says what is seen as it goes on.
    """
    return view.style is None and not view.is_begun


# ---- the answers of a question -----------------------------------------------------------------------------------------------


def why_none(question: Question) -> str | None:
    """Why a question has no margin, whatever the checkpoint; None if it has one."""
    if question.kind is not Kind.CLIP:
        return NO_CLIP
    if _n_answers(question) > MOST_ANSWERS:
        return TOO_MANY
    known = possible(question)
    if question.gold not in known:
        return NO_OPTIONS
    return NO_OTHER if len(known) == 1 else None


def possible(question: Question) -> list[Answer]:
    """Every answer that names options alone and that the question's form allows: each letter, or each set of them."""
    letters = LETTERS[: len(question.options)]
    return [answer for size in _sizes(question) for answer in combinations(letters, size)]


def _sizes(question: Question) -> list[int]:
    """How many options an answer may name. Forms tell sizes apart, not letters, so one answer of each size is looked at."""
    form, n = answers.form_of(question), len(question.options)
    return [size for size in range(n + 1) if form.fault(tuple(LETTERS[:size]), n) is None]


def _n_answers(question: Question) -> int:
    return sum(comb(len(question.options), size) for size in _sizes(question))


def spellings(question: Question, answer: Answer) -> list[str]:
    """How a reply may write an answer: as the form does, with blanks behind commas, and with a capital word.

    Their probabilities are added up; else whoever writes "A, C" would be taken for sure that no two options are right.
    """
    inside = answers.form_of(question).solution(answer).removeprefix("<answer>").removesuffix("</answer>")
    written = (inside, inside.replace(",", ", "), inside[:1].upper() + inside[1:])
    return [tagged(each) for each in dict.fromkeys(written)]


def margin(logps: Mapping[Answer, float], gold: Answer) -> float | None:
    """The log-probability of `gold` minus that of the likeliest other answer, in nats; None without one of the two."""
    others = [logp for answer, logp in logps.items() if answer != gold]
    return logps[gold] - max(others) if gold in logps and others else None


# ---- asking ------------------------------------------------------------------------------------------------------------------


def scorings(askings: Iterable[Asking]) -> Iterator[Asking]:
    """Those of a probe's askings whose answers are scored: one for each way in which the options are moved.

    Nothing is drawn, so a sample in which the options stand as in an earlier one would say the same again.
    """
    for one in askings:
        n_ways = len(one.question.options) if can_rotate(one.question) else 1
        if has_margin(one.view) and one.sample < n_ways and why_none(one.question) is None:
            yield one


def read_scores(folder: Path) -> dict[Key, OptionScores]:
    """The scores that are there, the last of each asking."""
    path = folder / SCORES
    rows = store.read_jsonl(path, OptionScores) if path.is_file() else []
    return {(row.question_id, row.view, row.sample): row for row in rows}


def owed(wanted: Iterable[Asking], done: Mapping[Key, OptionScores]) -> list[Asking]:
    """What is still to be scored: what has no scores, or whose clip could not be read."""
    return [one for one in wanted if (row := done.get(one.key)) is None or row.logps is None]


def score(
    wanted: Sequence[Asking],
    open_answerer: Callable[[DiagnosisSettings], Answerer],
    settings: DiagnosisSettings,
    folder: Path,
    progress: Progress = no_progress,
) -> None:
    """Score, and append what comes of each asking to margins.jsonl. The answerer is one that `unable` has nothing against."""
    groups: dict[DiagnosisSettings, dict[str, Asking]] = {}
    for one in wanted:
        groups.setdefault(at_once(one.view, settings), {})[one.put.question_id] = one
    with store.JsonlAppender(folder / SCORES) as file:
        for each, group in groups.items():
            scorer = open_answerer(each)
            assert isinstance(scorer, Scorer)
            written = {name: _written(one) for name, one in group.items()}
            replies = {name: [text for _, text in pairs] for name, pairs in written.items()}
            for raw in scorer.score([one.put for one in group.values()], replies):
                file.append(_record(group[raw.question_id], written[raw.question_id], raw))
                progress(1)


def at_once(view: View, settings: DiagnosisSettings) -> DiagnosisSettings:
    """The settings under which a view's answers are scored: our words that ask for the answer alone, or those of a template
    that asks for no more."""
    template = settings.template if settings.prompt is Style.DIRECT else None
    return msgspec.structs.replace(
        settings, damage=view.damage, protocol=OURS, prompt=Style.DIRECT, template=template, prefill="", stop_at=None
    )


def _written(asked: Asking) -> list[tuple[Answer, str]]:
    """Every spelling of every answer, in the letters that are shown."""
    shown = asked.put
    return [(answer, text) for answer in possible(shown) for text in spellings(shown, answer)]


def _summed(asked: Asking, written: Sequence[tuple[Answer, str]], logprobs: Sequence[float]) -> dict[Answer, float]:
    """The log-probability of each answer, in the question's own letters: the logarithm of the sum over its spellings."""
    by_answer: dict[Answer, list[float]] = {}
    for (answer, _), logp in zip(written, logprobs, strict=True):
        own = turned_back(asked.question, answer, asked.sample)
        assert own is not None
        by_answer.setdefault(own, []).append(logp)
    return {answer: _log_sum(found) for answer, found in by_answer.items()}


def _log_sum(logps: Sequence[float]) -> float:
    most = max(logps)
    return most + log(sum(exp(logp - most) for logp in logps)) if most > -float("inf") else most


def _record(asked: Asking, written: Sequence[tuple[Answer, str]], raw: RawScores) -> OptionScores:
    logps = None if raw.logprobs is None else _summed(asked, written, raw.logprobs)
    known = None if logps is None else {",".join(answer): round(logp, 6) for answer, logp in logps.items()}
    question_id, view, sample = asked.key
    return OptionScores(question_id=question_id, view=view, sample=sample, logps=known, error=raw.error)


# ---- margins -----------------------------------------------------------------------------------------------------------------


def margins(
    questions: Sequence[Question], views: Sequence[View], samples: int, scores: Mapping[Key, OptionScores]
) -> dict[str, dict[str, float]]:
    """The margins by view and question_id, over the first `samples` ways in which options are moved.

    Log-probabilities are averaged by answer first, so that a liking for a letter cancels where each option had each letter.
    """
    found: dict[str, dict[str, float]] = {}
    for view in views:
        of_view = found.setdefault(view.name, {})
        for question in questions:
            keys = ((question.question_id, view.name, sample) for sample in range(samples))
            rows = [row.logps for key in keys if (row := scores.get(key)) is not None and row.logps is not None]
            known = margin(_mean(rows), question.gold) if rows else None
            if known is not None:
                of_view[question.question_id] = round(known, 6)
    return found


def _mean(rows: Sequence[Mapping[str, float]]) -> dict[Answer, float]:
    found = {key: sum(row[key] for row in rows) / len(rows) for key in rows[0]}
    return {tables.parted(key) or (): logp for key, logp in found.items()}


def without(questions: Iterable[Question]) -> dict[str, int]:
    """How many questions have no margin whatever is asked, by reason, the most frequent first."""
    reasons = Counter(reason for one in questions if (reason := why_none(one)) is not None)
    return dict(reasons.most_common())
