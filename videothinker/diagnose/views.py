"""Views: ways to ask the same question with less to see, to read or to think.

A right answer under a view says that what the view takes away was not needed. Each view names its axis; docs/probe.md has the
table. `damage` says what a damaged clip shows.
"""

from typing import NamedTuple

from videothinker.answers import Style
from videothinker.damage import AXES, Damage
from videothinker.errors import VtError
from videothinker.records import Question
from videothinker.records.question import Kind


class View(NamedTuple):
    """One way to ask."""

    name: str
    axis: str
    damage: Damage | None = None
    """What is done to the clip."""
    style: Style | None = None
    """What the reply is to look like; None leaves it to the command."""
    asks_twin: bool = False
    """Whether the question's factual twin is asked in its place."""
    is_begun: bool = False
    """Whether the reply is made to begin with the text that `--prefill` gives."""


NORMAL, TWIN, DESCRIBED = "normal", "twin", "described"
MIRRORED, EVIDENCE, ELSEWHERE = Damage.MIRRORED.value, Damage.EVIDENCE.value, Damage.ELSEWHERE.value
VIEWS = {
    view.name: view
    for view in (
        View(NORMAL, "none"),
        View(TWIN, "observation", asks_twin=True),
        View("blind", AXES[Damage.BLANK], Damage.BLANK),
        View("frozen", AXES[Damage.FROZEN], Damage.FROZEN),
        View("shuffled", AXES[Damage.SHUFFLED], Damage.SHUFFLED),
        View("reversed", AXES[Damage.REVERSED], Damage.REVERSED),
        View(MIRRORED, AXES[Damage.MIRRORED], Damage.MIRRORED),
        View(EVIDENCE, AXES[Damage.EVIDENCE], Damage.EVIDENCE),
        View(ELSEWHERE, AXES[Damage.ELSEWHERE], Damage.ELSEWHERE),
        View("direct", "effort", style=Style.DIRECT),
        View(DESCRIBED, "observation", is_begun=True),
    )
}
"""Every view by name."""
OF_CLIPS = {name: view for name, view in VIEWS.items() if view.damage is not None}
"""Views that change the clip alone, so that gold and wording stay: those of a diagnosis."""
OF_PROBES = {name: view for name, view in VIEWS.items() if view.damage is None or not view.damage.is_mask}
"""Views of a probe. The masks are not among them: they say where an answer comes from, and take nothing away for good."""


_OF_ORDER = (Damage.FROZEN, Damage.SHUFFLED, Damage.REVERSED)
"""Damages that show a clip's own frames, in another order or the first alone."""


def shows_the_same(view: View, question: Question) -> bool:
    """Whether a view of clips changes nothing of what the question shows: nothing is shown, or one image, which has no order.

    A right answer would then say nothing about looking less.
    """
    if view.damage is None or question.kind is Kind.CLIP:
        return False
    return question.kind is Kind.TEXT or view.damage in _OF_ORDER


def damaging_views(listed: str) -> list[View]:
    """The views of clips in a list with commas, in its order; `normal`, which is always asked, may stand in it.

    Raises:
        VtError: one is unknown, not of clips or named twice, none is named, or one of the two masks comes without the other.
    """
    names = [name.strip() for name in listed.split(",") if name.strip()]
    if unknown := [name for name in names if name not in OF_CLIPS and name != NORMAL]:
        what = "is a view of `vt curate probe` alone" if unknown[0] in VIEWS else "there is no such view"
        raise VtError(f"--views {unknown[0]}: {what}; a diagnosis has {', '.join(OF_CLIPS)}")
    found = [VIEWS[name] for name in names if name != NORMAL]
    if not found or len(set(names)) < len(names):
        raise VtError(
            f"--views {listed!r}: names {'a view twice' if found else 'no view'}; expected some of {','.join(OF_CLIPS)}"
        )
    if (EVIDENCE in names) != (ELSEWHERE in names):
        raise VtError(f"--views {listed}: {EVIDENCE} and {ELSEWHERE} are read against each other; name both, or neither")
    return found


def chosen_views(listed: str, prefill: str) -> list[View]:
    """The views of a list with commas, in its order.

    Raises:
        VtError: one is unknown or named twice, or `described` and a reply's beginning do not come together.
    """
    names = [name.strip() for name in listed.split(",") if name.strip()]
    if unknown := [name for name in names if name not in OF_PROBES]:
        raise VtError(f"--views {unknown[0]}: there is no such view of a probe; there are {', '.join(OF_PROBES)}")
    if not names or len(set(names)) < len(names):
        raise VtError(
            f"--views {listed!r}: names {'a view twice' if names else 'no view'}; expected some of {','.join(OF_PROBES)}"
        )
    if (DESCRIBED in names) != bool(prefill):
        raise VtError(
            f"--views {listed} {'with' if prefill else 'without'} --prefill: the view {DESCRIBED} is asked with a reply that "
            f"is begun; give both, such as --views {DESCRIBED} --prefill '<think>obs', or neither"
        )
    return [VIEWS[name] for name in names]


def deciding(views: list[View], by: str | None) -> View:
    """The view whose pass rate makes the category: `by`, else twin, else the first that takes something away.

    Raises:
        VtError: `by` is not among the views, or nothing but `normal` is asked.
    """
    named = {view.name: view for view in views}
    if by is not None:
        if by not in named:
            raise VtError(f"--by {by}: is not among the views that are asked, {', '.join(named)}")
        return named[by]
    found = named.get(TWIN) or next((view for view in views if view.name != NORMAL), None)
    if found is None:
        raise VtError(f"--views {NORMAL}: takes nothing away, so it says nothing about looking less; add a view or give --by")
    return found
