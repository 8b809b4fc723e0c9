"""The language of claims: what each text in `holds` says.

    grpo < base                               grpo has less than base, on the claim's measure
    cdpo > grpo + 1                           more, by a percentage point at least
    all: cdpo > grpo - 0.5                    over all questions, and not less by half a point
    any-option observational: grpo > base     on another measure and under another rule than the claim's
    cdpo-90 > 0.5 grpo-90 + 0.5 base          more than the mean of two arms
    cdpo > undo                               undo is a [families.undo]: more than it has at equal observational accuracy
    bias is a shortcut model                  what the gates of an arm's bias models say
    auto thinks more on inferential questions             a larger share of replies there think than on observational questions
    auto gains more by thinking on inferential questions  the second answer is right more often than the first by more there
    auto writes less than 0.5 think                       mean tokens of a reply, as a share of another arm's

A number before an arm is its weight, and a number alone is in percentage points. The weights of the left side less those of the
right side sum to 0, with 1 on the positive side, so that what is compared are accuracies.
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple, cast, get_args

from videothinker.records.label import Rule
from videothinker.records.study import BASE, Claim, Measure, Stage, Study
from videothinker.study.seeds import MINUS

_GATE = re.compile(r"\s*(\S+)\s+is a shortcut model\s*")
_THINKS = re.compile(r"\s*(\S+) thinks more on inferential questions\s*")
_GAINS = re.compile(r"\s*(\S+) gains more by thinking on inferential questions\s*")
_WRITES = re.compile(r"\s*(\S+) writes less than (?:(\d+(?:\.\d+)?) )?(\S+)\s*")
_TOKEN = re.compile(
    r"\s*(?:(?P<sign>[<>+-])|(?P<number>\d+(?:\.\d+)?)(?![\w.])|(?P<arm>[a-z][a-z0-9]*(?:-[a-z0-9]+)*)(?![\w.-]))"
)
_FORM = (
    "ARM < ARM or ARM > ARM, with weights before arms and '+ POINTS' or '- POINTS' behind them, or ARM is a shortcut model, or"
    " ARM thinks more on inferential questions, or ARM gains more by thinking on inferential questions, or ARM writes less than"
    " SHARE ARM"
)

Special = Literal["thinks", "gain", "tokens"]
"""What a comparison is about that is not about accuracies: how often an arm thinks, what it gains by that, what it writes."""


class Comparison(NamedTuple):
    """One comparison of a claim: a sum of arms, each times its weight, is above a bound, or below it."""

    weights: tuple[tuple[str, float], ...]
    """Arm, "base" or family, and its weight, left side minus right side, in the order of the text."""
    above: bool
    bound: float = 0.0
    """As a fraction."""
    measure: Measure = "inferential"
    rule: Rule | None = None
    """None: the study's."""
    special: Special | None = None
    """With "thinks" and "gain" there is one arm, compared on inferential questions with itself on observational ones. With
    "tokens" the second arm's weight is less the share of its tokens that the first one stays below."""

    @property
    def arms(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.weights)

    @property
    def pair(self) -> tuple[str, str] | None:
        """(arm, arm subtracted from it) where the comparison is no more than that."""
        if self.special:
            return None
        match self.weights:
            case ((after, 1.0), (before, -1.0)) | ((before, -1.0), (after, 1.0)):
                return after, before
        return None

    @property
    def name(self) -> str:
        """Such as "cdpo-90 - 0.5 grpo-90 - 0.5 base", with a proper minus."""
        first = self.arms[0]
        if self.special == "thinks":
            return f"how much more often {first} thinks on inferential than on observational questions"
        if self.special == "gain":
            return f"how much more {first} gains by thinking on inferential than on observational questions"
        if self.special == "tokens":
            other, weight = self.weights[1]
            return f"tokens of {first} as a share of those of {other}, less {-weight:g}"
        words: list[str] = []
        for arm, weight in self.weights:
            sign = (f"{MINUS} " if weight < 0 else "+ ") if words else (MINUS if weight < 0 else "")
            words.append(f"{sign}{'' if abs(weight) == 1 else f'{abs(weight):g} '}{arm}")
        return " ".join(words)


class Gated(NamedTuple):
    """A claim's part about gates: an arm's bias models are shortcut models."""

    arm: str


def parse_claim(claim: Claim) -> list[Comparison | Gated]:
    """The parts of a claim, all of which have to hold.

    Raises:
        ValueError: one of them is not of the language; says which and why.
    """
    return [_part(text, claim) for text in claim.holds]


def comparisons(claim: Claim) -> list[Comparison]:
    """The parts of a claim that compare accuracies."""
    return [part for part in parse_claim(claim) if isinstance(part, Comparison)]


def _part(text: str, claim: Claim) -> Comparison | Gated:
    if (match := _GATE.fullmatch(text)) is not None:
        return Gated(match[1])
    if (special := _special(text, claim)) is not None:
        return special
    where, colon, formula = text.rpartition(":")
    measure, rule = _where(where, text, claim) if colon else (claim.measure, claim.rule)
    weights: dict[str, float] = {}
    points, turned, above = 0.0, 1.0, None
    for sign, weight, arm in _terms(formula, text):
        if sign in ("<", ">"):
            if above is not None:
                raise ValueError(f"'{text}' compares twice; write one comparison per text")
            above, turned = sign == ">", -1.0
        signed = turned * (-weight if sign == "-" else weight)
        if arm is None:
            points -= signed  # what stands on the left is what the right side has to be above, less that
        else:
            weights[arm] = weights.get(arm, 0.0) + signed
    if above is None:
        raise ValueError(f"'{text}' is not of the form {_FORM}")
    left = {arm: weight for arm, weight in weights.items() if weight}
    if not left:
        raise ValueError(f"'{text}' compares {', '.join(weights) or 'nothing'} with itself")
    _check_weights(left, text)
    return Comparison(tuple(left.items()), above, points / 100, measure, rule)


def _special(text: str, claim: Claim) -> Comparison | None:
    """A comparison that is not about accuracies; None if the text is one about them."""
    if (match := _THINKS.fullmatch(text)) is not None:
        return Comparison(((match[1], 1.0),), True, rule=claim.rule, special="thinks")
    if (match := _GAINS.fullmatch(text)) is not None:
        return Comparison(((match[1], 1.0),), True, rule=claim.rule, special="gain")
    if (match := _WRITES.fullmatch(text)) is None:
        return None
    share = 1.0 if match[2] is None else float(match[2])
    if not share or match[1] == match[3]:
        raise ValueError(f"'{text}' compares no two arms; write it as 'auto writes less than 0.5 think'")
    return Comparison(((match[1], 1.0), (match[3], -share)), False, measure="all", rule=claim.rule, special="tokens")


def _where(words: str, text: str, claim: Claim) -> tuple[Measure, Rule | None]:
    """The measure and the rule that stand before a colon, each at most once; those that do not are the claim's."""
    found: dict[str, str] = {}
    for word in words.split():
        kind = "measure" if word in get_args(Measure) else "rule" if word in [*Rule] else None
        if kind is None or kind in found:
            known = ", ".join((*get_args(Measure), *Rule))
            raise ValueError(f"'{text}': '{word}' before the colon, expected one measure and one rule at most, of {known}")
        found[kind] = word
    if not found:
        raise ValueError(f"'{text}': nothing stands before the colon, expected a measure or a rule")
    rule = Rule(found["rule"]) if "rule" in found else claim.rule
    return cast(Measure, found.get("measure", claim.measure)), rule


def _terms(formula: str, text: str) -> Iterator[tuple[str, float, str | None]]:
    """Yield (sign before it, number, arm) for each term of a formula; the arm is None for a number alone."""
    place, sign, number, expects = 0, "+", None, True
    formula = formula.rstrip()
    while place < len(formula):
        if (match := _TOKEN.match(formula, place)) is None:
            raise ValueError(f"'{text}' is not of the form {_FORM}: '{formula[place:].strip()}' cannot be read")
        place = match.end()
        if match["arm"] is not None and expects:
            yield sign, 1.0 if number is None else number, match["arm"]
            number, expects = None, False
        elif match["number"] is not None and expects and number is None:
            number = float(match["number"])
        elif match["sign"] is not None and (number is not None or not expects):
            if number is not None:
                yield sign, number, None
            sign, number, expects = match["sign"], None, True
        else:
            raise ValueError(f"'{text}' is not of the form {_FORM}: '{match[0].strip()}' stands in the wrong place")
    if number is not None:
        yield sign, number, None
    elif expects:
        raise ValueError(f"'{text}' is not of the form {_FORM}: it ends too early")


def _check_weights(weights: Mapping[str, float], text: str) -> None:
    """Check that the arms of both sides weigh 1 once all of them stand on one side.

    Raises:
        ValueError: they do not.
    """
    more, less = (sum(sign * weight for weight in weights.values() if sign * weight > 0) for sign in (1, -1))
    if not (math.isclose(more, 1.0) and math.isclose(less, 1.0)):
        raise ValueError(
            f"'{text}': its arms weigh {more:g} on one side and {less:g} on the other, expected 1 and 1, as in 'cdpo > 0.5 grpo"
            " + 0.5 base'"
        )


def pairs_of(study: Study) -> list[tuple[str, str]]:
    """Every (arm, arm subtracted from it) of the report: the pairs of `against`, then those that only a claim names."""
    asked = [(name, other) for name, arm in study.arms.items() for other in arm.against]
    named = [part.pair for claim in study.claims for part in comparisons(claim)]
    # The start model is always the one that is subtracted, on whichever side of its comparison a claim names it.
    claimed = [
        pair if pair[0] != BASE else pair[::-1] for pair in named if pair is not None and study.families.keys().isdisjoint(pair)
    ]
    return list(dict.fromkeys([*asked, *(pair for pair in claimed if pair not in asked and pair[::-1] not in asked)]))


def family_in(part: Comparison, study: Study) -> str | None:
    """The family that a comparison names, if it does."""
    return next((name for name in part.arms if name in study.families), None)


def members(part: Comparison | Gated, study: Study) -> tuple[str, ...]:
    """All arms, or "base", whose answers or gates a part of a claim rests on."""
    if isinstance(part, Gated):
        return (part.arm,)
    found = [arm for name in part.arms for arm in (study.families[name].arms if name in study.families else (name,))]
    return tuple(dict.fromkeys(found))


def common_seeds(arms: tuple[str, ...], study: Study) -> tuple[int, ...]:
    """The seeds that all of the arms are run with; arms take a study's first ones, so the fewest."""
    return min((study.seeds_of(arm) for arm in arms if arm != BASE), key=len, default=())


def check_claims(study: Study) -> Iterator[str]:
    """Yield what is wrong with the families and the claims of a study."""
    for name, family in study.families.items():
        if name == BASE or name in study.arms:
            yield f"families.{name}: the name is taken by an arm"
        for arm in family.arms:
            if arm != BASE and arm not in study.arms:
                yield f"families.{name}.arms: '{arm}' is neither an arm nor '{BASE}'"
        if len({*family.arms}) < len(family.arms):
            yield f"families.{name}.arms: an arm is listed twice"
    if len(study.named_claims) < len(study.claims):
        yield "claims: two of them have the same name"
    for index, claim in enumerate(study.claims):
        where = f"claims[{index}].holds"
        try:
            parts = parse_claim(claim)
        except ValueError as error:
            yield f"{where}: {error}"
            continue
        if claim.ask and claim.ask not in study.ask:
            yield f"claims[{index}].ask = '{claim.ask}': there is no [ask.{claim.ask}]"
            continue
        for part in parts:
            yield from (f"{where}: {problem}" for problem in _problems(part, study))
            yield from (
                f"{where}: '{name}' is not asked in the way '{study.ask_of(claim)}', by whose answers the claim is decided"
                for name in (() if isinstance(part, Gated) else members(part, study))
                if claim.ask and (name == BASE or name in study.arms) and not study.ask[claim.ask].asks(name)
            )


def _problems(part: Comparison | Gated, study: Study) -> Iterator[str]:
    if isinstance(part, Gated):
        if part.arm not in study.arms or study.arms[part.arm].stage != "bias":
            yield f"'{part.arm}' is no arm of stage bias, and only those have gates"
        return
    for name in part.arms:
        if name != BASE and name not in study.arms and name not in study.families:
            yield f"'{name}' is neither an arm nor '{BASE}' nor a family"
    if part.special:
        if not {*part.arms}.isdisjoint(study.families):
            yield f"'{part.name}': is about arms, and one of them is a family"
        elif part.special != "tokens" and part.arms[0] in study.arms and study.arms[part.arms[0]].stage is not Stage.AUTO:
            yield f"'{part.arms[0]}' is no arm of stage auto, and only those answer before and behind their thinking"
        elif part.special != "tokens" and part.arms[0] == BASE:
            yield f"'{BASE}' is no arm of stage auto, and only those answer before and behind their thinking"
        elif part.special == "tokens" and not study.answers_twice:
            yield f"'{part.name}': tokens are counted only in studies with an arm of stage auto"
        return
    if (family := family_in(part, study)) is None:
        return
    if part.pair is None or {*part.pair} <= study.families.keys() or BASE in part.pair:
        yield f"'{part.name}': a family is compared with one arm"
    elif part.measure != "inferential":
        yield f"'{part.name}': a family is compared on inferential accuracy, at equal observational accuracy"
    elif not {*part.pair}.isdisjoint(study.families[family].arms):
        yield f"'{part.name}': compares an arm with a family that it is part of"
