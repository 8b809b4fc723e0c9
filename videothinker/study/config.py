"""What a study is: its data, arms, questions and claims, read from one TOML file.

    [prepare.curated]
    run = "curate clevrer --annotations {world}/annotation_train ... --out {out}"

    [arms.repulsion-003]
    stage = "cdpo"
    seeds = 2
    set = { "objective.repulsion" = 0.003 }

An *arm* is one way of training, run once per seed. A *cell* is one `vt` command of the study. "base" is the checkpoint that
every arm starts from. docs/study.md explains every field by example.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from videothinker.errors import VtError
from videothinker.records.study import BASE, Arm, Ask, Scalar, Stage, Study
from videothinker.sections import load_toml, override, read
from videothinker.study.claims import check_claims

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_PLACE = re.compile(r"\{([^{}]*)\}")


def placeholders(text: str) -> list[str]:
    """The names in braces, in order: "curate clevrer --questions {world}/train.json --out {out}" has "world" and "out"."""
    return _PLACE.findall(text)


def fill(text: str, places: dict[str, str]) -> str:
    """`text` with every {NAME} replaced."""
    return _PLACE.sub(lambda match: places[match[1]], text)


def load_study(file: Path, overrides: Sequence[str] = ()) -> Study:
    """Read a study's file, with the overrides of `--set KEY=VALUE` applied.

    Raises:
        VtError: the file is not TOML, or settings are unknown, missing, of the wrong kind, out of bounds or contradict each
            other; the message names all of them.
    """
    raw = load_toml(file)
    for assignment in overrides:
        override(raw, assignment)
    problems: list[str] = []
    study = read(Study, raw, problems)
    if study is not None:
        problems = list(_contradictions(study, file.parent))
        if not problems:
            return study
    raise VtError(f"{file}: {'; '.join(problems)}")


def with_seeds(study: Study, n_seeds: int) -> Study:
    """The study with the first `n_seeds` of its seeds; arms that have no more than that stay as they are.

    Raises:
        VtError: the study has fewer.
    """
    if n_seeds > len(study.seeds):
        raise VtError(f"--seeds {n_seeds}: the study has {len(study.seeds)}")

    def fewer(arm: Arm) -> Arm:
        few = {name: min(n, n_seeds) for name in ("seeds", "early_seeds") if (n := getattr(arm, name)) is not None}
        return msgspec.structs.replace(arm, **few)

    arms = {name: fewer(arm) for name, arm in study.arms.items()}
    return msgspec.structs.replace(study, seeds=study.seeds[:n_seeds], arms=arms)


def _contradictions(study: Study, here: Path) -> Iterator[str]:
    """Yield what is wrong with settings that are each valid but do not fit together."""
    yield from _bad_names(study)
    if len(set(study.seeds)) < len(study.seeds):
        yield f"seeds = {list(study.seeds)}: a seed is listed twice"
    for section, empty in (("arms", not study.arms), ("ask", not study.ask)):
        if empty:
            yield f"{section}: is empty; a study trains at least one arm and asks in at least one way"
    filled = [("model", study.model), *((f"arms.{name}.labels", arm.labels) for name, arm in study.arms.items() if arm.labels)]
    filled += [(f"arms.{name}.bias_model", arm.bias_model) for name, arm in study.arms.items() if arm.bias_model]
    for where, text in filled:
        yield from (
            f"{where} = '{text}': there is no [prepare.{name}], and no '{name}' in [paths]"
            for name in placeholders(text)
            if name not in study.prepare and name not in study.paths
        )
    yield from _bad_preparation(study)
    data = [("train.data", study.train.data), *((f"ask.{name}.data", ask.data) for name, ask in study.ask.items())]
    data += [(f"arms.{name}.data", arm.data) for name, arm in study.arms.items() if arm.data is not None]
    data += [("train.after", name) for name in study.train.after]
    data += [(f"ask.{ask}.after", name) for ask, one in study.ask.items() for name in one.after]
    for where, name in data:
        if name not in study.prepare:
            yield f"{where} = '{name}': there is no [prepare.{name}]"
    for stage, config in study.train.configs.items():
        if not (here / config).is_file():
            yield f"train.configs.{stage} = '{config}': no such file beside the study's"
    for ask, one in study.ask.items():
        for named in one.arms or ():
            if named != BASE and named not in study.arms:
                yield f"ask.{ask}.arms: '{named}' is neither an arm nor '{BASE}'"
        yield from _bad_stop(study, ask, one)
    yield from _bad_settings("train.set", study.train.set)
    for name, arm in study.arms.items():
        yield from _bad_arm(study, name, arm)
    yield from check_claims(study)
    for index, sweep in enumerate(study.sweeps):
        yield from (f"sweeps[{index}].arms: '{name}' is no arm" for name in sweep.arms if name not in study.arms)
        if len({*sweep.arms.values()}) < len(sweep.arms):
            yield f"sweeps[{index}].arms: two of them have the same number"


def _bad_stop(study: Study, name: str, ask: Ask) -> Iterator[str]:
    where = f"ask.{name}.stop_from"
    if not ask.stop_from:
        return
    stopped = [arm for arm, one in study.arms.items() if one.stage is Stage.AUTO and ask.asks(arm)]
    if not stopped:
        yield f"{where}: no arm of stage auto is asked in this way, and no other can be stopped"
    source = study.ask.get(ask.stop_from)
    if source is None or source.stop_from:
        yield f"{where} = '{ask.stop_from}': is no other way of asking, or one that is stopped itself"
        return
    yield from (f"{where} = '{ask.stop_from}': '{arm}' is not asked in that way" for arm in stopped if not source.asks(arm))
    if (source.data, source.options) == (ask.data, ask.options):
        yield f"{where} = '{ask.stop_from}': asks the same questions, on which the best stop would confirm itself"


def _bad_names(study: Study) -> Iterator[str]:
    taken = {
        "paths": {"out", "here", *study.prepare},
        "prepare": {"out", "here"},
        "arms": {BASE, *study.prepare},
        "ask": set[str](),
    }
    for name, given in study.paths.items():
        if not given or "" in ([given] if isinstance(given, str) else given):
            yield f"paths.{name}: names no path"
    for section, names in (("paths", study.paths), ("prepare", study.prepare), ("arms", study.arms), ("ask", study.ask)):
        for name in names:
            if not _NAME.fullmatch(name):
                yield f"{section}.{name}: a name has small letters, digits and single hyphens"
            if name in taken[section]:
                yield f"{section}.{name}: the name is taken"
    runs = {f"{name}-s{seed}" for name in study.arms for seed in study.seeds_of(name)}
    yield from (f"'{name}' names two cells" for name in sorted(runs & {*study.prepare, *study.arms}))


def _bad_preparation(study: Study) -> Iterator[str]:
    awaited = {*study.train.after, *(name for ask in study.ask.values() for name in ask.after)}
    for name, cell in study.prepare.items():
        if "out" not in (places := placeholders(cell.run)) and name not in awaited:
            yield f"prepare.{name}.run: writes nowhere; it needs {{out}}, or nothing but `after` may name it"
        earlier = list(study.prepare)[: list(study.prepare).index(name)]
        for place in places:
            if place not in ("out", "here", *study.paths, *earlier):
                yield f"prepare.{name}.run: there is no [prepare.{place}] before it, and no '{place}' in [paths]"


def _bad_blend(study: Study, name: str, arm: Arm) -> Iterator[str]:
    where = f"arms.{name}"
    if arm.of is None or arm.weight is None:
        yield f"{where}: stage blend needs `of`, two checkpoints, and `weight`, the share of the second one"
        return
    trained = Arm(stage=Stage.BLEND)
    if idle := [
        key
        for key in ("steps", "set", "data", "labels", "where", "rule", "force", "bias_model")
        if getattr(arm, key) != getattr(trained, key)
    ]:
        yield f"{where}.{idle[0]}: stage blend trains nothing"
    if arm.of[0] == arm.of[1]:
        yield f"{where}.of: both are '{arm.of[0]}'"
    for other in arm.of:
        if other != BASE and (other not in study.arms or study.arms[other].stage is Stage.BLEND):
            yield f"{where}.of: '{other}' is neither a trained arm nor '{BASE}'"
        elif other != BASE and not {*study.seeds_of(name)} <= {*study.seeds_of(other)}:
            yield f"{where}.seeds: '{other}' is trained with fewer"


def _bad_settings(where: str, settings: dict[str, Scalar]) -> Iterator[str]:
    for key, instead in (("seed", "seeds"), ("optimizer.steps", "train.steps")):
        if key in settings:
            yield f"{where}: '{key}' is the study's own {instead}"


def _bad_arm(study: Study, name: str, arm: Arm) -> Iterator[str]:
    where = f"arms.{name}"
    if arm.stage is Stage.BLEND:
        yield from _bad_blend(study, name, arm)
    elif arm.stage not in study.train.configs:
        yield f"{where}.stage = '{arm.stage}': train.configs has no file for it"
    elif arm.of is not None or arm.weight is not None:
        yield f"{where}: only stage blend has `of` and `weight`"
    if arm.seeds is not None and arm.seeds > len(study.seeds):
        yield f"{where}.seeds = {arm.seeds}: the study has {len(study.seeds)}"
    if arm.early_seeds is not None and arm.early_seeds > len(study.seeds_of(name)):
        yield f"{where}.early_seeds = {arm.early_seeds}: the arm has {len(study.seeds_of(name))} seeds"
    if arm.bias_model is not None and (not arm.repels or arm.set.get("objective.reference") in ("start", "self")):
        yield (
            f"{where}.bias_model: only stage cdpo, and auto with an objective.repulsion, is repelled from one, and not with "
            "this objective.reference"
        )
    if arm.needs_bias:
        model = study.arms.get(arm.bias)
        if model is None or model.stage is not Stage.BIAS:
            yield f"{where}.bias = '{arm.bias}': is no arm of stage bias"
        elif not set(study.seeds_of(name)) <= set(study.seeds_of(arm.bias)):
            yield f"{where}.seeds: '{arm.bias}' is trained with fewer"
    if arm.rule is not None and arm.stage is not Stage.BIAS:
        yield f"{where}.rule: only stage bias is trained on a category"
    if arm.force and not arm.repels:
        yield f"{where}.force: only stage cdpo, and auto with an objective.repulsion, has a gate before it"
    for other in arm.against:
        if other == name or (other != BASE and other not in study.arms):
            default = (
                " (an arm that gives no `against` is compared with cdpo)" if arm.against == Arm(stage=arm.stage).against else ""
            )
            yield f"{where}.against: '{other}' is neither another arm nor '{BASE}'{default}"
    yield from _bad_settings(f"{where}.set", arm.set)
