"""The tables on damaged clips: what each view costs, and whether answers come from where the evidence is."""

from collections.abc import Sequence

from videothinker.records import Estimate
from videothinker.records.views import EvidenceEffect, ViewEffect, ViewEffects
from videothinker.reports.page import count, estimate, points
from videothinker.reports.scored import RightWords
from videothinker.reports.tables import DASH, Table

_KINDS = {"right": "answered right as it is"}
"""Names of kinds of questions that are not their own."""

_SOURCE = "CausalSight (JugalGajjar/CausalSight on GitHub, results/), counterfactual questions of CLEVRER's validation split"
PUBLISHED = (
    ("VideoThinker-R1-3B", 250, 0.250, 0.147, (0.103, 0.04, 0.17)),
    ("VideoRFT-3B", 250, 0.508, 0.446, (0.062, -0.10, 0.23)),
    ("Video-R1-7B", 250, 0.478, 0.337, (0.141, 0.04, 0.24)),
    ("CausalSight SFT + CSR 3B", 883, 0.086, 0.029, (0.056, 0.04, 0.08)),
)
"""Checkpoint, counterfactual questions asked, share changed by hiding the evidence and as many random frames, and their
difference with its interval: printed by `_SOURCE`, of the questions that each had right. CSR was asked option by option."""


def view_tables(effects: ViewEffects, said: RightWords, *, has_logs_of_clevrer: bool) -> dict[str, Table | None]:
    """The tables "views" and "evidence", None where nothing was asked. Published rows stand beside CLEVRER's questions.

    said: how accuracy is called.
    """
    return {
        "views": _views_table(effects.views, said) if effects.views else None,
        "evidence": _evidence_table(effects.evidence, published=has_logs_of_clevrer) if effects.evidence else None,
    }


def consistency(changed: Estimate) -> Estimate:
    """The share of answers that stay, from that of those that change."""
    ends = None if changed.ci95 is None else (1 - changed.ci95[1], 1 - changed.ci95[0])
    return Estimate(None if changed.value is None else 1 - changed.value, changed.stderr, ends)


def _views_table(effects: Sequence[ViewEffect], said: RightWords) -> Table:
    left_out = {effect.view: effect.n_left_out for effect in effects if effect.n_left_out}
    by_view = ", ".join(f"{count(n)} {view}" for view, n in left_out.items())
    told = (
        " Not asked are questions about an image or words that a view leaves as they are, and mirrored those that say left or "
        f"right: {by_view}."
        if left_out
        else ""
    )
    return Table(
        "views",
        f"{said.figure} with the clip as it is and with the damaged one, what is lost in percentage points, "
        "and answers that stay the same (in the rows mirrored: the mirror consistency). 95 % intervals, paired by question "
        f"and clustered by clip. Unread: replies to the damaged clip without a readable answer.{told}",
        ("Checkpoint", "View", "Axis", "Questions", "n", "As it is", "Damaged", "Lost", "Answers that stay", "Unread"),
        [
            (
                effect.run,
                effect.view,
                effect.axis,
                kind,
                count(row.n_questions),
                estimate(row.normal),
                estimate(row.under),
                points(row.gap),
                estimate(consistency(row.changed)),
                count(row.n_unread),
            )
            for effect in effects
            for kind, row in effect.by_category.items()
        ],
    )


def _evidence_table(effects: Sequence[EvidenceEffect], *, published: bool) -> Table:
    ours = [
        (
            effect.run,
            _KINDS.get(kind, kind),
            count(row.n_questions),
            estimate(row.evidence),
            estimate(row.elsewhere),
            points(row.difference),
            *map(count, row.n_unread),
        )
        for effect in effects
        for kind, row in effect.by_category.items()
    ]
    others = [
        (
            f"{name} (published)",
            f"counterfactual, right of {count(n)}",
            DASH,
            estimate(Estimate(hidden, None, None)),
            estimate(Estimate(control, None, None)),
            points(Estimate(difference, None, (low, high))),
            DASH,
            DASH,
        )
        for name, n, hidden, control, (difference, low, high) in PUBLISHED
    ]
    without = "; ".join(f"{effect.run}: {count(effect.n_without)}" for effect in effects)
    note = (
        f" Published: by {_SOURCE}, with masks of its own making, so they are to be read beside these and not against them."
        if published
        else ""
    )
    return Table(
        "evidence",
        "Answers that change when the frames are hidden that show the collisions which the options name, and when as many "
        "others are; the difference is in percentage points. Questions without such a collision are left out "
        f"({without}).{note}",
        ("Checkpoint", "Questions", "n", "Evidence hidden", "As many others hidden", "Difference", "Unread", "Unread, others"),
        [*ours, *(others if published else [])],
        parts=(len(ours),) if published else (),
    )
