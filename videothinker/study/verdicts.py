"""What a study says about its claims: each part by itself, each claim, and what is left of all of them after a correction.

A claim holds if all of its parts do, so the probability of confirming it wrongly is at most that of its weakest part: its p is
the largest of theirs (an intersection-union test). It is refuted if any part is reversed; there the smallest p counts, times
the number of parts. Over the claims Holm's procedure keeps the probability of any wrong verdict at `LEVEL`: the smallest p is
compared with LEVEL / m, the next with LEVEL / (m - 1), and so on until one is not below. All m claims of the study count,
whether or not they were run.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from videothinker.diagnose.estimates import FEWEST_GROUPS
from videothinker.records import Rule
from videothinker.records.study import Study
from videothinker.records.study_results import Contrast, Decision, Difference, Gates, Part, Training, Value, Verdict
from videothinker.records.training import Judged
from videothinker.study.claims import Comparison, Gated, family_in, parse_claim
from videothinker.study.crossed import p_value
from videothinker.study.seeds import MINUS, decide, negative, side

LEVEL = 0.05
"""Probability of a wrong verdict, two-sided: of one claim by itself, and of any claim after the correction."""


class _Judged(NamedTuple):
    part: Part
    side: int
    """1 if the part holds, -1 if it is reversed, 0 if neither was shown."""
    towards: int
    """The side on which what was found lies, shown or not."""


def judge_claims(
    study: Study, differences: Iterable[Difference], contrasts: Iterable[Contrast], trainings: Sequence[Training]
) -> list[Verdict]:
    """The verdict about each claim, from its way of asking and from the gates of its bias models."""
    every_pair, every_sum = list(differences), list(contrasts)
    judged: list[list[_Judged]] = []
    for claim in study.claims:
        ask = study.ask_of(claim)
        pairs = {(one.after, one.before, one.rule): one.measures for one in every_pair if one.ask == ask}
        sums = {(one.name, one.rule): one for one in every_sum if one.ask == ask}
        found = []
        for part in parse_claim(claim):
            if isinstance(part, Gated):
                found.append(_judge_gates(part, trainings))
            else:
                value, reason = _find(part, part.rule or study.rule, pairs, sums)
                found.append(_judge_value(part, _in_words(part, study, claim.ask), value, reason))
        judged.append(found)
    decisions = [decide([one.side for one in found]) for found in judged]
    summed = [_p_of_claim(found) for found in judged]
    rejected = holm([p for p, _ in summed])
    return [
        Verdict(
            claim=claim,
            decision=decision,
            parts=tuple(one.part for one in found),
            p=p,
            corrected=towards if kept else Decision.UNDECIDED,
        )
        for claim, found, decision, (p, towards), kept in zip(study.claims, judged, decisions, summed, rejected, strict=True)
    ]


def holm(p_values: Sequence[float], level: float = LEVEL) -> list[bool]:
    """For each p value whether Holm's procedure rejects its hypothesis."""
    rejected = [False] * len(p_values)
    for place, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[index] > level / (len(p_values) - place):
            break
        rejected[index] = True
    return rejected


def _p_of_claim(found: Sequence[_Judged]) -> tuple[float, Decision]:
    """The p of a claim, and what it speaks for."""
    confirmed = max(_p_towards(one, 1) for one in found)
    refuted = min(1.0, len(found) * min(_p_towards(one, -1) for one in found))
    return (confirmed, Decision.CONFIRMED) if confirmed <= refuted else (refuted, Decision.REFUTED)


def _p_towards(one: _Judged, towards: int) -> float:
    return 1.0 if one.part.p is None or one.towards != towards else one.part.p


def _find(
    part: Comparison,
    rule: Rule,
    pairs: Mapping[tuple[str, str, Rule], Mapping[str, Value]],
    sums: Mapping[tuple[str, Rule], Contrast],
) -> tuple[Value | None, str]:
    """The value of a comparison, and why there is none."""
    if (one := sums.get((part.name, rule))) is not None:
        return one.measures.get(part.measure), one.reason
    if part.pair is None:
        return None, ""
    after, before = part.pair
    if (straight := pairs.get((after, before, rule))) is not None:
        return straight[part.measure], ""
    turned = pairs.get((before, after, rule))
    return (None, "") if turned is None else (negative(turned[part.measure]), "")


def _judge_value(part: Comparison, name: str, value: Value | None, reason: str) -> _Judged:
    if value is None or value.crossed.value is None:
        return _Judged(Part(name, value, reason=reason), 0, 0)
    sign = 1 if part.above else -1
    p = None
    if value.spread is not None and value.n_scenes >= FEWEST_GROUPS:
        p = p_value(value.crossed.value, value.spread, part.bound)
    towards = sign if value.crossed.value > part.bound else -sign
    return _Judged(Part(name, value, p=p), sign * side(value.crossed, value.n_scenes, part.bound), towards)


def _judge_gates(part: Gated, trainings: Sequence[Training]) -> _Judged:
    """A sign test over seeds: whether such a bias model passes its gate more often than not.

    A gate that is undecided counts for neither side.
    """
    judged = [one for one in trainings if one.arm == part.arm and one.gate is not None]
    n, n_passed = len(judged), sum(one.gate == () for one in judged)
    n_failed = sum(one.judged is Judged.NO_SHORTCUT for one in judged)
    name = f"{part.arm} is a shortcut model"
    if not n:
        return _Judged(Part(name, None), 0, 0)
    towards = 1 if n_passed >= n_failed else -1
    p = sign_test(max(n_passed, n_failed), n)
    return _Judged(
        Part(name, None, gates=Gates(n_passed=n_passed, n_failed=n_failed, n=n), p=p), towards * (p <= LEVEL), towards
    )


def sign_test(k: int, n: int) -> float:
    """Two-sided probability of k or more of n where either outcome is as likely as the other: 8 of 8 is 2 / 256."""
    ways: int = sum(math.comb(n, i) for i in range(k, n + 1))
    return min(1.0, 2 * ways / float(2**n))


_COMPARED = {"all": "all questions", "observational": "observational questions", "shortcut_reliance": "shortcut reliance"}


def _in_words(part: Comparison, study: Study, ask: str) -> str:
    """Such as "cdpo - grpo (all questions, claimed to be above -0.5)"; what most claims share is not said."""
    said = [_COMPARED[part.measure]] if part.measure in _COMPARED and not part.special else []
    said += [f"asked {ask}"] if ask else []
    said += [f"rule {part.rule}"] if part.rule else []
    said += ["at equal observational accuracy"] if family_in(part, study) else []
    if part.bound:
        bound = f"{100 * part.bound:+.1f}".replace("-", MINUS)
        said.append(f"claimed to be {'above' if part.above else 'below'} {bound}")
    return part.name + (f" ({', '.join(said)})" if said else "")
