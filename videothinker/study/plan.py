"""Plan the cells of a study: one `vt` command each, with the cells that it waits for.

Nothing is run here. A command is kept with its placeholders, so that a study's folder can be moved; `command` fills them in.
"""

import shlex
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from videothinker import store
from videothinker.records.study import BASE, Arm, Ask, Claim, Stage, Study
from videothinker.records.twice import SWEEP_FILE
from videothinker.study.claims import Gated, common_seeds, members, parse_claim
from videothinker.study.config import fill, placeholders

_HERE = "{here}/"
"""Start of an argument that names a file beside the study's."""


class Kind(StrEnum):
    """What a cell does."""

    PREPARE = "prepare"
    TRAIN = "train"
    BLEND = "blend"
    ASK = "ask"
    CHOOSE = "choose"
    """Nothing is asked: the best `--stop-at` of a finished run is looked up (`vt report --stop-sweep`)."""


class Cell(NamedTuple):
    """One `vt` command, and what has to end before it starts."""

    name: str
    """Such as "curated", "cdpo-s42" or "greedy.cdpo-s42"; its folder has the same name."""
    kind: Kind
    arguments: tuple[str, ...]
    """Arguments of `vt`, with the placeholders {out}, {here} and, for other cells' folders, {NAME}."""
    gpu: bool
    """Whether it needs a GPU."""
    group: str
    """Cells of one group cost about the same: "train cdpo", "ask greedy", or the cell's own name."""
    needs: tuple[str, ...] = ()
    """Cells that have to be finished first, because this one reads what they write."""
    after: tuple[str, ...] = ()
    """Cells that have to have ended first, whether they finished or failed: they make this one faster, and do not change what
    it writes."""
    identity: str = ""
    """Hash of the command, of the files beside the study's that it names, and of the cells that it needs."""
    steps: int | None = None
    """Optimiser steps of a training."""
    expected: float | None = None
    """Seconds that the study's file expects; None where it does not say."""
    basis: str = ""
    """What `expected` was measured on; empty: it was not measured."""
    paths: tuple[tuple[str, str], ...] = ()
    """Name and path of what the command reads from elsewhere ([paths]). Where that lies is no part of the identity."""
    arm: str | None = None
    seed: int | None = None
    """None for "base" and for preparations."""
    ask: str | None = None
    awaits: str = ""
    """What of `vt` this cell, or one that it needs, awaits; empty: nothing. `settled` clears it where `vt` has it."""
    turn: int = 0
    """Cells of an earlier turn start before those of a later one. In a whole study the arms without `seeds` come first, then
    the others in the order of the file, then the seeds that `early_seeds` leaves for later; of chosen claims one comes after
    the other."""

    @property
    def leaves_nothing(self) -> bool:
        """True for a command that writes no folder of its own, such as one that fills a cache."""
        return bool(self.arguments) and not any("{out}" in argument for argument in self.arguments)


def make_plan(study: Study, here: Path, given: Mapping[str, str] = {}) -> tuple[Cell, ...]:
    """All cells of a study, each behind those that it needs.

    here: the folder of the study's file. given: the preparations whose folder was made elsewhere, with the hash of its
    content; such a cell has no command.
    """
    found: dict[str, Cell] = {}
    outside = {name: place_of(given) for name, given in study.paths.items()}

    def add(cell: Cell) -> None:
        if cell.name in given:
            found[cell.name] = cell._replace(arguments=(), gpu=False, identity=given[cell.name], awaits="")
            return
        places = [place for argument in cell.arguments for place in placeholders(argument)]
        needs = tuple(place for place in dict.fromkeys(places) if place in found)
        files = [here / argument.removeprefix(_HERE) for argument in cell.arguments if argument.startswith(_HERE)]
        read = [store.sha256_file(file) for file in files if file.is_file()]
        identity = store.sha256_json([cell.arguments, read, [found[need].identity for need in needs]])
        awaits = cell.awaits or next((found[need].awaits for need in needs if found[need].awaits), "")
        paths = tuple((place, outside[place]) for place in dict.fromkeys(places) if place in outside)
        found[cell.name] = cell._replace(needs=needs, identity=identity, awaits=awaits, paths=paths)

    for name, preparation in study.prepare.items():
        expected = None if preparation.minutes is None else 60 * preparation.minutes
        arguments = tuple(shlex.split(preparation.run))
        cell = Cell(name, Kind.PREPARE, arguments, gpu=preparation.gpu, group=name, expected=expected, basis=preparation.basis)
        add(cell._replace(awaits=preparation.awaits, turn=len(study.arms) + 1))  # the last turn; `_in_time` brings it forward
    turns = _turns(study)
    for name, seed in _trainings(study):
        arm = study.arms[name]
        if arm.stage is Stage.BLEND:
            minutes = study.train.blend_minutes
            taken = _BLENDED if minutes is None else 60 * minutes
            cell = Cell(f"{name}-s{seed}", Kind.BLEND, _blend(study, arm, seed), gpu=False, group="blend", expected=taken)
        else:
            steps = arm.steps or study.train.steps
            cell = Cell(
                f"{name}-s{seed}", Kind.TRAIN, _train(study, arm, seed), gpu=True, group=f"train {arm.stage}", steps=steps
            )
            rate = study.train.rate(arm.stage)
            expected = None if rate is None else rate * steps
            cell = cell._replace(expected=expected, basis=study.train.basis, after=study.train.after)
        add(cell._replace(arm=name, seed=seed, awaits=arm.awaits, turn=turns[name, seed]))
    trained = [cell for cell in found.values() if cell.kind in (Kind.TRAIN, Kind.BLEND)]
    for name, ask in sorted(study.ask.items(), key=lambda one: bool(one[1].stop_from)):  # stops are chosen from the others
        expected = None if ask.minutes is None else 60 * ask.minutes
        asked = Cell("", Kind.ASK, (), gpu=True, group=f"ask {name}", expected=expected, ask=name, after=ask.after)
        asked = asked._replace(basis=ask.basis)
        if ask.asks(BASE):
            add(asked._replace(name=f"{name}.{BASE}", arguments=_ask(ask, f"{BASE}={study.model}"), arm=BASE))
        for cell in trained:
            if ask.asks(cell.arm or ""):
                arguments = _ask(ask, f"{cell.name}={{{cell.name}}}")
                if ask.stop_from and study.arms[cell.arm or ""].stage is Stage.AUTO:
                    stop = _chosen_stop(study, ask, cell)
                    if stop.name not in found:
                        add(stop)
                    # The style is said, for --stop-at is refused before a checkpoint's own prompt is known.
                    arguments += ("--prompt", "twice", "--stop-at", f"{{{stop.name}}}/{cell.name}/{SWEEP_FILE}")
                own = asked._replace(name=f"{name}.{cell.name}", arguments=arguments, arm=cell.arm, seed=cell.seed)
                add(own._replace(turn=cell.turn))
    return _in_time(_needed(list(found.values())))


def _needed(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """The cells without preparations that nothing waits for, such as the base where `--set model=REF` names another model."""
    wanted: set[str] = set()
    for cell in reversed(cells):
        if cell.kind is not Kind.PREPARE or cell.name in wanted:
            wanted.update((cell.name, *cell.needs, *cell.after))
    return tuple(cell for cell in cells if cell.name in wanted)


def _turns(study: Study) -> dict[tuple[str, int], int]:
    """The turn of each training, by arm and seed, as `Cell.turn` says."""
    found = {}
    for place, (name, arm) in enumerate(study.arms.items(), start=1):
        for index, seed in enumerate(study.seeds_of(name)):
            late = arm.early_seeds is not None and index >= arm.early_seeds
            found[name, seed] = len(study.arms) + 1 if late else 0 if arm.seeds is None else place
    return found


def _in_time(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """The cells, each with a turn no later than that of any cell that waits for it."""
    turns = {cell.name: cell.turn for cell in cells}
    for cell in reversed(cells):
        for need in (*cell.needs, *cell.after):
            turns[need] = min(turns[need], turns[cell.name])
    return tuple(cell._replace(turn=turns[cell.name]) for cell in cells)


def _trainings(study: Study) -> list[tuple[str, int]]:
    """All pairs (arm, seed) to train, bias models first, because other arms wait for them, and blends of trained ones last."""
    places = {Stage.BIAS: 0, Stage.BLEND: 2}
    arms = sorted(study.arms, key=lambda name: places.get(study.arms[name].stage, 1))
    return [(arm, seed) for arm in arms for seed in study.seeds_of(arm)]


def _ask(ask: Ask, model: str) -> tuple[str, ...]:
    return ("diagnose", "--model", model, "--data", f"{{{ask.data}}}", "--out", "{out}", *shlex.split(ask.options))


_CHOSEN = 25.0
"""Seconds that a report with a sweep takes on one core, most of it imports and figures."""


def _chosen_stop(study: Study, ask: Ask, cell: Cell) -> Cell:
    """The cell that finds the best `--stop-at` of a training's checkpoint, from where nothing was stopped."""
    source = ask.stop_from
    arguments = (
        "report",
        f"{{{source}.{cell.name}}}",
        "--data",
        f"{{{study.ask[source].data}}}",
        "--stop-sweep",
        "--out",
        "{out}",
    )
    return Cell(
        f"{source}-stop.{cell.name}",
        Kind.CHOOSE,
        arguments,
        gpu=False,
        group="choose a stop",
        expected=_CHOSEN,
        arm=cell.arm,
        seed=cell.seed,
        turn=cell.turn,
    )


def _train(study: Study, arm: Arm, seed: int) -> tuple[str, ...]:
    arguments = ["train", arm.stage.value, "--config", _HERE + study.train.configs[arm.stage]]
    arguments += ["--data", f"{{{arm.data or study.train.data}}}", "--model", study.model, "--out", "{out}"]
    if arm.needs_bias:
        arguments += ["--bias-model", f"{{{arm.bias}-s{seed}}}"]
    if arm.bias_model is not None:
        arguments += ["--bias-model", arm.bias_model]
    if arm.force:
        arguments += ["--force"]
    if arm.stage is Stage.BIAS and (arm.rule is not None or arm.labels is None):  # a label file is itself the choice
        arguments += ["--rule", (arm.rule or study.rule).value]
    if arm.labels is not None:
        arguments += ["--labels", arm.labels]
    if arm.where is not None:
        arguments += ["--where", arm.where]
    settings = {"seed": seed, "optimizer.steps": arm.steps or study.train.steps, **study.train.set, **arm.set}
    for key, value in settings.items():
        arguments += ["--set", f"{key}={str(value).lower() if isinstance(value, bool) else value}"]
    return tuple(arguments)


_BLENDED = 6.0
"""Seconds that a blend of tiny checkpoints takes, most of it imports."""


def _blend(study: Study, arm: Arm, seed: int) -> tuple[str, ...]:
    assert arm.of is not None
    first, second = (study.model if name == BASE else f"{{{name}-s{seed}}}" for name in arm.of)
    return ("checkpoint", "blend", first, second, "--weight", f"{arm.weight:g}", "--out", "{out}")


def cells_of(claim: Claim, study: Study, plan: Sequence[Cell]) -> frozenset[str]:
    """The names of the cells that a claim rests on: what its arms are asked in the claim's way, at the seeds that they have in
    common, the bias models whose gates it is about, and all that these need."""
    wanted: set[str] = set()
    for part in parse_claim(claim):
        arms = members(part, study)
        seeds = common_seeds(arms, study)
        for cell in plan:
            if cell.arm not in arms or (cell.seed is not None and cell.seed not in seeds):
                continue
            if cell.kind is Kind.TRAIN if isinstance(part, Gated) else cell.ask == study.ask_of(claim):
                wanted.add(cell.name)
    return _with_needs(wanted, plan)


def cells_of_arm(arm: str, plan: Sequence[Cell]) -> frozenset[str]:
    """The names of the cells of an arm, or of "base": its runs, all that these are asked, and all that they need."""
    return _with_needs({cell.name for cell in plan if cell.arm == arm}, plan)


def _with_needs(names: set[str], plan: Sequence[Cell]) -> frozenset[str]:
    wanted = set(names)
    for cell in reversed(plan):
        if cell.name in wanted:
            wanted.update((*cell.needs, *cell.after))
    return frozenset(wanted)


def settled(plan: Sequence[Cell], understood: Callable[[Cell], bool]) -> tuple[Cell, ...]:
    """The plan with `awaits` cleared of every cell whose command is understood, and of whose needs none awaits anything."""
    late: set[str] = set()
    found = []
    for cell in plan:
        if cell.awaits and late.isdisjoint(cell.needs) and understood(cell):
            cell = cell._replace(awaits="")
        if cell.awaits:
            late.add(cell.name)
        found.append(cell)
    return tuple(found)


def chosen(wanted: Iterable[Collection[str]], plan: Sequence[Cell]) -> tuple[Cell, ...]:
    """The cells of a plan that are among the wanted ones: of each claim or arm its cells.

    Their turn is that of the first that wants them, so that if time is short, the first claims can be judged.
    """
    turns: dict[str, int] = {}
    for turn, names in enumerate(wanted):
        for name in names:
            turns.setdefault(name, turn)
    return tuple(cell._replace(turn=turns[cell.name]) for cell in plan if cell.name in turns)


def place_of(given: str | Sequence[str]) -> str:
    """Of the paths that an entry of [paths] gives, the first that is there; the first one if none is."""
    paths = [given] if isinstance(given, str) else list(given)
    return next((path for path in paths if Path(path).exists()), paths[0])


def missing_paths(study: Study, cells: Sequence[Cell]) -> list[str]:
    """What of [paths] the commands of these cells would not find, a line for each."""
    lines = []
    for name, path in {name: path for cell in cells for name, path in cell.paths}.items():
        if not Path(path).exists():
            given = study.paths[name]
            tried = path if isinstance(given, str) else " or ".join(given)
            lines.append(f"paths.{name}: there is no {tried}; put it there, or say where it is: --set paths.{name}=PATH")
    return lines


def cell_folder(folder: Path, name: str) -> Path:
    """Where a cell of the study in `folder` writes."""
    return folder / "cells" / name


def command(cell: Cell, folder: Path, here: Path) -> list[str]:
    """The cell's arguments of `vt`, ready to run, for a study in `folder` whose file lies in `here`."""
    places = {need: str(cell_folder(folder, need)) for need in cell.needs}
    places |= dict(cell.paths) | {"out": str(cell_folder(folder, cell.name)), "here": str(here)}
    return [fill(argument, places) for argument in cell.arguments]


def heights(plan: Sequence[Cell], seconds: Mapping[str, float | None]) -> dict[str, float]:
    """For each cell the seconds from its start to the end of the longest chain of cells that wait for it.

    A cell whose duration is not known counts as one second.
    """
    after: dict[str, float] = {}
    found = {}
    for cell in reversed(plan):  # a cell's followers stand behind it, so their heights are known by then
        found[cell.name] = after.get(cell.name, 0.0) + (seconds[cell.name] or 1.0)
        for need in (*cell.needs, *cell.after):
            after[need] = max(after.get(need, 0.0), found[cell.name])
    return found
