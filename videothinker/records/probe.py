"""What `vt curate probe` keeps: every reply, and the page beside the labels."""

import msgspec

from videothinker.records.metrics import Estimate
from videothinker.records.prediction import Status


class ProbeReply(msgspec.Struct, frozen=True, kw_only=True):
    """One reply of the probed checkpoint: a line of replies.jsonl."""

    question_id: str
    view: str
    sample: int
    """0-based; the options were moved by so many places."""
    reply: str
    """The text as it was written, with letters as they were shown."""
    chosen: tuple[str, ...] | None
    """The answer in the question's own letters; None where none could be read."""
    status: Status
    error: str | None = None
    """Why the clip could not be read; None unless status is decode_error."""
    tokens: int | None = None
    logprob: float | None = None
    """Mean log-probability per written token in nats; None if the source gives none."""


class OptionScores(msgspec.Struct, frozen=True, kw_only=True):
    """How likely each answer to one question is, asked for at once: a line of margins.jsonl."""

    question_id: str
    view: str
    sample: int
    """0-based; the options were moved by so many places."""
    logps: dict[str, float] | None
    """By answer, in the question's own letters, joined by "," ("" for none): the log-probability in nats that exactly this is
    written. None where the clip could not be read."""
    error: str | None = None
    """Why there are none; only with `logps` None."""


class ViewResult(msgspec.Struct, frozen=True, kw_only=True):
    """How the questions were answered under one view."""

    view: str
    axis: str
    """What is taken away, or added: what an answer that is right all the same relies on."""
    n_questions: int
    """Questions with at least one reply."""
    n_replies: int
    n_unread: int
    n_lost: int
    """Replies that never came, because the clip could not be read."""
    pass_rate: Estimate
    """Mean over questions of the share of right replies."""
    n_margins: int = 0
    """Questions with a margin: the log-probability of the gold answer, asked for at once, minus that of the likeliest other."""
    likeliest: Estimate | None = None
    """Of those, the share whose margin is above 0; None where there are none."""
    margin: Estimate | None = None
    """Their mean margin in nats."""
    margin_change: Estimate | None = None
    """Mean change of the margin from the view `normal` to this one, over the questions with both; None for `normal`."""


class OneSample(msgspec.Struct, frozen=True, kw_only=True):
    """What one sample of the view that decides tells of a log's labels, over the questions that have reply and margin."""

    n_questions: int
    reply: Estimate
    """AUC of whether the first reply is right."""
    margin: Estimate
    """AUC of the margin with the options as they are."""
    gain: Estimate
    """The second minus the first, paired by question."""


class Against(msgspec.Struct, frozen=True, kw_only=True):
    """The probe's labels beside a collision log's under one rule, over the questions that both label."""

    rule: str
    n_questions: int
    confusion: dict[str, dict[str, int]]
    """The probe's category -> the log's category -> questions."""
    precision: dict[str, Estimate]
    """By category: of the questions that the probe puts there, the share that the log does too."""
    recall: dict[str, Estimate]
    """By category: of the questions that the log puts there, the share that the probe does too; unsure ones are not found."""
    auc: Estimate
    """Chance that an observational question has the higher pass rate under the view that decides than an inferential one."""
    auc_without_gold: Estimate | None
    """The same of the share of replies under that view that are the most frequent reply under `normal`; None if not asked."""
    auc_margin: Estimate | None = None
    """The same of the margin under that view, over the questions that have one; None if none has."""
    one_sample: OneSample | None = None
    """None where nothing has a margin."""


class ProbeSummary(msgspec.Struct, frozen=True, kw_only=True):
    """LABELS.json: what a probe found, and how well it agrees with what is known."""

    observer: str
    decides: str
    """The view whose pass rate makes the category."""
    samples: int
    observational_from: float
    inferential_up_to: float
    n_asked: int
    """Questions that were to be probed."""
    categories: dict[str, int]
    unlabelled: dict[str, int]
    """Questions without a label, by reason; with `categories` they sum to `n_asked`."""
    views: list[ViewResult]
    against: list[Against]
    """Empty where there is no collision log."""
    halves: Estimate | None
    """Share of questions that even and odd samples put into the same category; None with one sample."""
    asked: dict[str, object] = {}
    """How questions were put: `protocol`, `prompt` in a few words, and `template` with the text and hash of one, or None."""
    no_margins: str | None = None
    """Why there is no margin at all; None if they were asked for."""
    without_margin: dict[str, int] = {}
    """Questions that have no margin whatever answers, by reason."""
    provenance: dict[str, object] = {}


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a person says of one labelled question."""

    question_id: str
    group: str
    """What intervals cluster by."""
    category: str
    """The label, hidden from the person until judged."""
    verdict: str
    """One of "observational", "inferential" and "unsure": the person cannot tell."""


class Verdicts(msgspec.Struct, frozen=True, kw_only=True):
    """The file that an audit sheet saves."""

    observer: str
    rule: str
    n_drawn: int
    """Questions on the sheet; those not judged are not among the verdicts."""
    verdicts: list[Verdict]
