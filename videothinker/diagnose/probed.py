"""What a probe's replies say: a label for each question, and how well the labels agree with what is known otherwise.

    labels = label_rows(questions, heards, margins, decides, band, observer)

Nothing here is measured that no reply or log says: without a collision log there is no precision, only whether two halves of
the samples agree.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from videothinker import tables
from videothinker.answers import Answer, is_right
from videothinker.curated import Labels
from videothinker.diagnose.estimates import (
    NOTHING,
    Codes,
    Floats,
    Mask,
    clustered_auc,
    clustered_auc_gain,
    clustered_mean,
    clustered_share,
)
from videothinker.diagnose.option_scores import has_margin
from videothinker.diagnose.probing import Key
from videothinker.diagnose.views import NORMAL, VIEWS, View, shows_the_same
from videothinker.observers.probe import Asked, Band
from videothinker.records import (
    DECIDED,
    Against,
    Category,
    Estimate,
    LabelSet,
    OneSample,
    ProbeReply,
    Question,
    Status,
    ViewResult,
)
from videothinker.records.label import COLUMNS, LOG

LOST = "its clip could not be read"
SAME = "the view leaves what it shows as it is"


class Heard(NamedTuple):
    """The replies to one question under one view."""

    question: Question
    replies: tuple[ProbeReply, ...]
    """By sample; those whose clip could not be read are not among them."""
    n_lost: int

    @property
    def asked(self) -> Asked:
        return self._tally(self.replies)

    @property
    def halves(self) -> tuple[Asked, Asked]:
        """Even and odd samples by themselves."""
        first, second = ([row for row in self.replies if row.sample % 2 == half] for half in (0, 1))
        return self._tally(first), self._tally(second)

    @property
    def answer(self) -> Answer | None:
        """The most frequent answer that could be read, of equally frequent ones the first to come; None if none could."""
        read = Counter(row.chosen for row in self.replies if row.chosen is not None)
        return read.most_common(1)[0][0] if read else None

    def _tally(self, rows: Sequence[ProbeReply]) -> Asked:
        right = sum(is_right(self.question.form, row.chosen, self.question.gold) for row in rows)
        unread = sum(row.chosen is None for row in rows)
        return Asked(right, len(rows) - right - unread, unread)


Heards = Mapping[str, Mapping[str, Heard]]
"""By view, then by question_id; a question that was not asked under a view, or got no reply, is not there."""

Margins = Mapping[str, Mapping[str, float]]
"""Margins in nats, by view and then by question_id; a question without one is not there."""


def heard(
    questions: Sequence[Question], views: Sequence[View], samples: int, replies: Mapping[Key, ProbeReply]
) -> tuple[dict[str, dict[str, Heard]], dict[str, set[str]]]:
    """The replies by view and question; and by view the questions whose replies were all lost with their clip."""
    found: dict[str, dict[str, Heard]] = {view.name: {} for view in views}
    lost: dict[str, set[str]] = {view.name: set() for view in views}
    for view in views:
        for question in questions:
            if shows_the_same(view, question):  # earlier versions asked it all the same
                continue
            keys = ((question.question_id, view.name, sample) for sample in range(samples))
            rows = [replies[key] for key in keys if key in replies]
            came = tuple(row for row in rows if row.status is not Status.DECODE_ERROR)
            if came:
                found[view.name][question.question_id] = Heard(question, came, len(rows) - len(came))
            elif rows:
                lost[view.name].add(question.question_id)
    return found, lost


def label_rows(
    questions: Sequence[Question], heards: Heards, margins: Margins, decides: View, band: Band, observer: str
) -> list[tables.Row]:
    """A row of the label file for each question that has a reply under the view that decides."""
    rows = []
    for question in questions:
        one = heards[decides.name].get(question.question_id)
        if one is None:
            continue
        asked = one.asked
        scores: tables.Row = {}
        for view, by_question in heards.items():
            there = by_question.get(question.question_id)
            scores[view] = None if there is None else there.asked.pass_rate
            scores[f"unread_{view}"] = None if there is None else there.asked.unread
            if has_margin(VIEWS[view]):
                scores[f"margin_{view}"] = margins.get(view, {}).get(question.question_id)
        rows.append(
            {
                "question_id": question.question_id,
                "observer": observer,
                "rule": decides.name,
                "category": asked.category(band).value,
                "answer": tables.joined(one.answer),
                "reason": f"{decides.name}: {asked.right} right, {asked.wrong} wrong, {asked.unread} unread of {asked.n}",
                **scores,
            }
        )
    return rows


def columns(views: Sequence[View]) -> dict[str, str]:
    """Columns of the label file by Arrow type: a label's, and each view's pass rate, number of unread replies and margin."""
    scores: dict[str, str] = {}
    for view in views:
        scores |= {view.name: "double", f"unread_{view.name}": "int64"}
        scores |= {f"margin_{view.name}": "double"} if has_margin(view) else {}
    return COLUMNS | scores


def view_result(view: View, by_question: Mapping[str, Heard], lost: int, margins: Margins) -> ViewResult:
    """Counts, pass rate and margins of one view. lost: replies that never came of questions that have none at all."""
    all_heard = list(by_question.values())
    rates = np.array([one.asked.pass_rate for one in all_heard], dtype=np.float64)
    own, normal = margins.get(view.name, {}), margins.get(NORMAL, {}) if view.name != NORMAL else {}
    scored = [one.question for one in all_heard if one.question.question_id in own]
    paired = [one for one in scored if one.question_id in normal]
    values = np.array([own[one.question_id] for one in scored], dtype=np.float64)
    changes = np.array([own[one.question_id] - normal[one.question_id] for one in paired], dtype=np.float64)
    return ViewResult(
        view=view.name,
        axis=view.axis,
        n_questions=len(all_heard),
        n_replies=sum(one.asked.n for one in all_heard),
        n_unread=sum(one.asked.unread for one in all_heard),
        n_lost=lost + sum(one.n_lost for one in all_heard),
        pass_rate=clustered_share(rates, np.ones(len(rates)), _codes(all_heard)) if all_heard else NOTHING,
        n_margins=len(scored),
        likeliest=clustered_share((values > 0).astype(np.float64), np.ones(len(values)), _groups(scored)) if scored else None,
        margin=clustered_mean(values, _groups(scored)) if scored else None,
        margin_change=clustered_mean(changes, _groups(paired)) if paired else None,
    )


def halves_agree(by_question: Mapping[str, Heard], band: Band) -> Estimate | None:
    """Share of questions that even and odd samples put into the same category; None if no question has two samples."""
    both = [one for one in by_question.values() if all(half.n for half in one.halves)]
    if not both:
        return None
    same = [first.category(band) is second.category(band) for first, second in (one.halves for one in both)]
    return clustered_share(np.array(same, dtype=np.float64), np.ones(len(both)), _codes(both))


def against_logs(heards: Heards, decides: View, band: Band, labels: Labels, margins: Margins, first: Margins) -> list[Against]:
    """The probe beside the set's collision log, under each of its rules; empty if there is none.

    first: the margins with the options as they are, which is what the first sample costs.
    """
    ours = margins.get(decides.name, {}), first.get(decides.name, {})
    return [_against(heards, decides, band, one, *ours) for one in labels.sets if one.observer == LOG]


def _against(
    heards: Heards, decides: View, band: Band, log: LabelSet, margins: Mapping[str, float], first: Mapping[str, float]
) -> Against:
    both = [one for key, one in heards[decides.name].items() if key in log.by_question]
    said = [one.asked.category(band) for one in both]
    true = [log.by_question[one.question.question_id].category for one in both]
    confusion = {kind.value: {each.value: 0 for each in DECIDED} for kind in Category}
    for ours, theirs in zip(said, true, strict=True):
        confusion[ours.value][theirs.value] += 1
    cluster = _codes(both)
    agree = np.array([ours is theirs for ours, theirs in zip(said, true, strict=True)], dtype=np.float64)

    def share_where(kinds: Sequence[Category], wanted: Category) -> Estimate:
        where = np.array([kind is wanted for kind in kinds], dtype=np.float64)
        return clustered_share(agree * where, where, cluster) if where.any() else NOTHING

    positive = np.array([kind is Category.OBSERVATIONAL for kind in true], dtype=np.bool_)

    def auc(score: Callable[[Heard], float]) -> Estimate:
        scores: Floats = np.array([score(one) for one in both], dtype=np.float64)
        return clustered_auc(scores, positive, cluster)

    known = np.array([one.question.question_id in margins for one in both], dtype=np.bool_)
    of_margin = np.array([margins.get(one.question.question_id, 0.0) for one in both], dtype=np.float64)
    normal = heards.get(NORMAL, {}) if decides.name != NORMAL else {}
    return Against(
        rule=log.rule,
        n_questions=len(both),
        confusion=confusion,
        precision={kind.value: share_where(said, kind) for kind in DECIDED},
        recall={kind.value: share_where(true, kind) for kind in DECIDED},
        auc=auc(lambda one: one.asked.pass_rate or 0.0),
        auc_without_gold=auc(lambda one: _agreement(one, normal.get(one.question.question_id))) if normal else None,
        auc_margin=clustered_auc(of_margin[known], positive[known], cluster[known]) if known.any() else None,
        one_sample=_one_sample(both, positive, cluster, first),
    )


def _one_sample(both: Sequence[Heard], positive: Mask, cluster: Codes, first: Mapping[str, float]) -> OneSample | None:
    """What the first reply tells beside the margin with the options as they are."""
    replies = [next((row for row in one.replies if row.sample == 0), None) for one in both]
    there = [row is not None and row.question_id in first for row in replies]
    if not any(there):
        return None
    pairs = [(one, row) for one, row, known in zip(both, replies, there, strict=True) if row is not None and known]
    reply = np.array([is_right(one.question.form, row.chosen, one.question.gold) for one, row in pairs], dtype=np.float64)
    margin = np.array([first[row.question_id] for _, row in pairs], dtype=np.float64)
    truth, groups = positive[there], cluster[there]
    return OneSample(
        n_questions=len(pairs),
        reply=clustered_auc(reply, truth, groups),
        margin=clustered_auc(margin, truth, groups),
        gain=clustered_auc_gain(margin, reply, truth, groups),
    )


def _agreement(one: Heard, normal: Heard | None) -> float:
    """Share of the replies that are the usual reply to the question as it is; without a usual reply 0."""
    usual = None if normal is None else normal.answer
    return 0.0 if usual is None else sum(row.chosen == usual for row in one.replies) / len(one.replies)


def _codes(all_heard: Sequence[Heard]) -> Codes:
    return _groups([one.question for one in all_heard])


def _groups(questions: Sequence[Question]) -> Codes:
    """Codes of the clips that intervals cluster by."""
    groups: dict[str, int] = {}
    return np.array([groups.setdefault(one.group, len(groups)) for one in questions], dtype=np.int64)
