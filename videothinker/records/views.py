"""What damaging the clip does to a checkpoint's answers: fields of summary.json. docs/diagnose.md says how to read them."""

import msgspec

from videothinker.records.metrics import Estimate


class ViewGap(msgspec.Struct, frozen=True, kw_only=True):
    """The same questions of one kind, answered with the clip as it is and with the damaged one."""

    n_questions: int
    """Questions answered both ways, without decode_errors of either."""
    n_groups: int
    n_unread: int
    """Replies to the damaged clip without a readable answer: who falls silent loses all, whatever the answers relied on."""
    normal: Estimate
    """Share answered exactly right with the clip as it is, or mean score where answers have one."""
    under: Estimate
    """The same with the damaged clip."""
    gap: Estimate
    """`normal` minus `under`, paired by question, clustered by group."""
    changed: Estimate
    """Share of the questions whose answer is another one; a reply without a readable answer differs from every answer, and not
    from another such reply. 1 minus this is the consistency."""


class ViewEffect(msgspec.Struct, frozen=True, kw_only=True):
    """What one view does to one checkpoint's answers."""

    run: str
    view: str
    """Name of the view, one of `diagnose.views.OF_CLIPS` but for the masks."""
    axis: str
    """What an answer that survives the view relies on."""
    n_left_out: int
    """Questions that are not asked under the view, because it may change what is right (mirrored, those that say left or
    right) or changes nothing of what they show."""
    by_category: dict[str, ViewGap]
    """By "all" and, where the questions have labels, by category; kinds without a question are not in it."""


class EvidenceChange(msgspec.Struct, frozen=True, kw_only=True):
    """Questions of one kind, with their evidence hidden and with as many other frames hidden."""

    n_questions: int
    """Questions answered all three ways, without decode_errors."""
    n_groups: int
    n_unread: tuple[int, int]
    """Replies without a readable answer, with the evidence hidden and with as many other frames hidden."""
    evidence: Estimate
    """Share whose answer is another one once the evidence is hidden."""
    elsewhere: Estimate
    """The same once as many other frames are hidden."""
    difference: Estimate
    """`evidence` minus `elsewhere`, paired by question, clustered by group."""


class EvidenceEffect(msgspec.Struct, frozen=True, kw_only=True):
    """Whether one checkpoint's answers come from the moments that their labels rest on."""

    run: str
    n_without: int
    """Questions that have no evidence to hide."""
    by_category: dict[str, EvidenceChange]
    """By "all", by "right" (those answered right with the clip as it is) and by category."""


class ViewEffects(msgspec.Struct, frozen=True, kw_only=True):
    """All that a report's runs were asked with damaged clips."""

    views: list[ViewEffect] = []
    evidence: list[EvidenceEffect] = []
