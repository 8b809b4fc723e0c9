"""How good are a probe's labels? Asked of the study's checkpoints on two worlds whose truth is known, under all three rules.

    python benchmarks/probe_quality.py --work DIR [--size whole] [--jobs 6] [--out reports/probe]     # a GPU, minutes
    python benchmarks/probe_quality.py --work DIR --size cpu                   # fewer questions, on one thread
    python benchmarks/probe_quality.py --docs docs/probe.md                    # only write the page's tables again
    python benchmarks/probe_quality.py --work DIR --size smoke --out OUT       # a few questions, to see that it runs

Worlds, curated sets, checkpoints and replies are made by `vt` and kept in DIR; what is there is not made again, so a killed
measurement goes on. What is to be asked comes in a fixed order (`SIZES`), and askings that are not finished are in no table.
Each asking is a `vt curate probe`; its labels are read from its replies, by every view and for the first 1, 2, 4 and 8 samples.
reports/probe/claims.md says what was expected, and what is called what.
"""

import argparse
import math
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from operator import eq
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import probe_tables
import results
from calling import ROOT, vt

from videothinker import store
from videothinker.answers import LETTERS
from videothinker.curated import Curated, open_curated
from videothinker.diagnose import probed, probing
from videothinker.diagnose.limit import limited
from videothinker.diagnose.views import NORMAL, VIEWS, View
from videothinker.observers.probe import Band
from videothinker.records import Rule
from videothinker.records.label import LOG
from videothinker.world.stream import Trace

STUDY = ROOT / "data" / "study"
TRAINED = ("grpo", "bias", "cdpo")
PREFILL = "<think>obs"
"""How the study's base begins a reply in which it describes."""
MAX_NEW_TOKENS = 96
SAMPLES = (1, 2, 4, 8)


class World(NamedTuple):
    """A generated world, whose collision log is the truth."""

    preset: str
    seed: int
    per_scene: float
    """Counterfactual questions that a scene brings, on average and a little less."""


WORLDS = (World("clevrer74", 21, 2.0), World("clevrer", 22, 0.78))


class Ask(NamedTuple):
    """One call of `vt curate probe`."""

    checkpoint: str
    name: str
    """Of the asking, unique for a checkpoint."""
    views: tuple[str, ...]
    limit: int | None = None
    """Questions, of every kind its share; None asks all."""
    samples: int = 1
    """More than one are drawn at temperature 1, with the options moved round; one is greedy."""

    @property
    def prefill(self) -> tuple[str, ...]:
        return ("--prefill", PREFILL) if "described" in self.views else ()

    @property
    def temperature(self) -> int:
        return int(self.samples > 1)


PLAIN = (NORMAL, "twin", "described")
DAMAGED = ("frozen", "blind")
FLOOR = Ask("solver:random", "sampled", (NORMAL,), None, 8)


class Size(NamedTuple):
    """How many questions each of `WORLDS` has at least, and what is asked about them, in order."""

    questions: tuple[int, int]
    asks: tuple[Ask, ...]


SIZES = {
    "whole": Size(
        (2000, 2000),
        (
            *(Ask(each, "greedy", (*PLAIN, *DAMAGED)) for each in ("base", *TRAINED)),
            *(Ask(each, "sampled", PLAIN, 500, 8) for each in ("base", *TRAINED)),
            FLOOR,
        ),
    ),
    "cpu": Size(
        (600, 200),
        (
            FLOOR,
            Ask("base", "greedy", PLAIN, 200),
            Ask("grpo", "greedy", ("described",), 100),
            Ask("bias", "greedy", ("described",), 100),
            Ask("base", "damaged", DAMAGED, 100),
            Ask("base", "sampled", ("described",), 60, 4),
        ),
    ),
    "smoke": Size(
        (20, 20),
        (
            FLOOR,
            Ask("base", "greedy", PLAIN, 4),
            Ask("base", "sampled", (NORMAL, "described"), 2, 2),
            Ask("grpo", "damaged", DAMAGED, 2),
        ),
    ),
}


class Place(NamedTuple):
    """Where things lie, and how `vt` is called."""

    work: Path
    workers: int | None
    batch_size: int | None
    more: Mapping[str, Path]
    """Checkpoints beside the study's, by name."""

    def curated(self, world: World) -> Path:
        return self.work / world.preset / "curated"

    def labels(self, world: World, ask: Ask) -> Path:
        return self.work / world.preset / "asked" / f"{ask.checkpoint.replace(':', '-')}-{ask.name}.parquet"

    def checkpoint(self, name: str) -> str:
        """What `--model` is given."""
        if name.startswith("solver:"):
            return name
        kept = {"base": STUDY / "base", **self.more}
        return str(kept.get(name, self.work / "checkpoints" / name))


def make(place: Place, world: World, n_questions: int) -> None:
    """Make and curate a world of at least so many questions, if it is not there."""
    folder = place.work / world.preset
    of_workers = () if place.workers is None else ("--workers", place.workers)
    if not (place.curated(world) / "manifest.json").is_file():
        n_scenes = math.ceil(n_questions / world.per_scene)
        what = ("--scenes", n_scenes, "--seed", world.seed, "--preset", world.preset, "--size", "240x160", "--only-asked")
        vt("world", "make", folder / "world", *what, *of_workers)
        made = ("--annotations", folder / "world/annotation_train", "--questions", folder / "world/train.json")
        seen = ("--videos", folder / "world/video_train", "--rule", "oracle", "--out", place.curated(world))
        vt("curate", "clevrer", *made, *seen, *of_workers)


def unpack(place: Place, names: Iterable[str]) -> None:
    for name in names:
        if name in TRAINED and not Path(place.checkpoint(name)).is_dir():
            base = ("--base", STUDY / "base")
            vt("checkpoint", "unpack", STUDY / f"{name}.delta", *base, "--out", place.checkpoint(name))


def put(place: Place, world: World, ask: Ask, at_once: int) -> None:
    """Ask what is not answered yet, as one of so many probes at once."""
    views = ("--views", ",".join(ask.views), *ask.prefill, "--by", ask.views[-1])
    how = ("--samples", ask.samples, "--temperature", ask.temperature, "--max-new-tokens", MAX_NEW_TOKENS)
    limit = () if ask.limit is None else ("--limit", ask.limit)
    batches = () if place.batch_size is None else ("--batch-size", place.batch_size)
    of = ("--data", place.curated(world), "--model", place.checkpoint(ask.checkpoint))
    out = place.labels(world, ask)
    vt("curate", "probe", *of, *views, *how, *limit, *batches, "--no-margins", "--out", out, at_once=at_once)


def asked_of(size: Size, more: Iterable[str]) -> list[Ask]:
    """What is asked, and after it of further checkpoints what is asked of the base."""
    return [*size.asks, *(ask._replace(checkpoint=name) for name in more for ask in size.asks if ask.checkpoint == "base")]


def ask_all(place: Place, size: Size, asks: Sequence[Ask], jobs: int) -> None:
    """Make what is not there, and ask what is not answered yet, so many probes at once."""
    unpack(place, dict.fromkeys(ask.checkpoint for ask in asks))
    for world, n_questions in zip(WORLDS, size.questions, strict=True):
        make(place, world, n_questions)
    wanted = [(world, ask) for ask in asks for world in WORLDS]
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(lambda one: put(place, *one, at_once=min(jobs, len(wanted))), wanted))


def measure(place: Place, world: World, asks: Sequence[Ask]) -> dict[str, Any]:
    """What is known of a world's askings, of those that are finished."""
    curated = open_curated(place.curated(world))
    rows = [row for ask in asks if place.labels(world, ask).is_file() for row in read(place, world, curated, ask)]
    questions = [one.question for one in curated.members]
    shares = {one.rule: _share(one.by_question.values()) for one in curated.labels.sets if one.observer == LOG}
    told = {"preset": world.preset, "seed": world.seed, "n_questions": len(questions)}
    told |= {"n_clips": len({one.group for one in questions}), "observational": shares}
    told |= {"exact_twin": exact_twin(place.work / world.preset / "world" / "traces.jsonl")}
    return {"world": told, "prefill": PREFILL, "max_new_tokens": MAX_NEW_TOKENS, "rows": rows}


def exact_twin(file: Path) -> dict[str, float]:
    """What the twin in words would be worth, answered without a fault: over all questions of a world's traces.

    `agrees`: share that it labels as the rule oracle does. `precision_inferential`: of what it calls inferential, the share
    that is so; what it calls observational always is. `names_removed`: share with an option about the removed object, whose
    collision may be in the clip though the observer knows that it would not happen. In CLEVRER itself no option is.
    """
    with file.open("rb") as lines:
        traces = [msgspec.json.decode(line, type=Trace) for line in lines]
    twin_right = [
        all(
            (one.in_factual != trace.negated) == (letter in trace.gold)
            for letter, one in zip(LETTERS, trace.options, strict=False)
        )
        for trace in traces
    ]
    observer_right = [trace.observer == trace.gold for trace in traces]
    called = [not right for said, right in zip(twin_right, observer_right, strict=True) if not said]
    names = [any(trace.removed_object in one.object_ids for one in trace.options) for trace in traces]
    return {
        "agrees": sum(map(eq, twin_right, observer_right)) / len(traces),
        "precision_inferential": sum(called) / len(called) if called else 1.0,
        "names_removed": sum(names) / len(traces),
    }


def joined(file: Path, found: dict[str, Any]) -> dict[str, Any]:
    """What was found of some checkpoints, behind what FILE has of others about the same world."""
    before = store.read_json(file, dict[str, Any])
    for key in ("world", "prefill", "max_new_tokens"):
        if before[key] != found[key]:
            raise SystemExit(f"{file}: {key} is {before[key]}; expected {found[key]}, or --out without such a file")
    here = {row["checkpoint"] for row in found["rows"]}
    return found | {"rows": [row for row in before["rows"] if row["checkpoint"] not in here] + found["rows"]}


def _share(labels: Iterable[Any]) -> float:
    every = [one.category == "observational" for one in labels]
    return sum(every) / len(every)


def read(place: Place, world: World, curated: Curated, ask: Ask) -> list[dict[str, Any]]:
    """A row for each view and number of samples of an asking: its labels beside the log's."""
    questions = [one.question for one in curated.members]
    if ask.limit is not None:
        ids = limited(questions, ask.limit, curated.labels, curated.manifest.benchmark, set())
        questions = [one for one in questions if one.question_id in ids]
    replies = probing.read_replies(place.labels(world, ask).with_suffix(".replies"))
    views = [VIEWS[name] for name in ask.views]
    rows = []
    for n in (n for n in SAMPLES if n <= ask.samples):
        heards, lost = probed.heard(questions, views, n, replies)
        rows += [_row(ask, n, view, heards, len(lost[view.name]), curated) for view in views]
    return rows


def _row(ask: Ask, n: int, view: View, heards: probed.Heards, n_lost: int, curated: Curated) -> dict[str, Any]:
    band, heard = Band(), heards[view.name]
    kinds = [one.asked.category(band).value for one in heard.values()]
    return {
        "checkpoint": ask.checkpoint,
        "asking": ask.name,
        "greedy": ask.samples == 1,
        "samples": n,
        **msgspec.to_builtins(probed.view_result(view, heard, n * n_lost, {})),
        "categories": {kind: kinds.count(kind) for kind in ("observational", "inferential", "unsure")},
        "halves": msgspec.to_builtins(probed.halves_agree(heard, band)),
        "against": {
            one.rule: msgspec.to_builtins(one)
            for one in probed.against_logs(heards, view, band, curated.labels, {}, {})
            if one.rule in list(Rule)
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, metavar="DIR", help="where everything is made; may exist")
    parser.add_argument("--size", choices=SIZES, default="whole")
    parser.add_argument("--more", action="append", default=[], metavar="NAME=DIR", help="a checkpoint that is asked as base is")
    parser.add_argument("--jobs", type=int, default=1, help="probes at once")
    parser.add_argument("--workers", type=int, help="processes that make a world; default one per core")
    parser.add_argument("--batch-size", type=int, help="as of vt curate probe; 8 is quickest on a CPU")
    parser.add_argument("--only", metavar="NAME", help="ask this checkpoint alone; the rows of others stay as --out has them")
    parser.add_argument("--no-ask", action="store_true", help="only read what is answered")
    parser.add_argument("--docs", type=Path, metavar="PAGE", help="write the tables between the page's marks")
    parser.add_argument("--out", type=Path, default=ROOT / "reports" / "probe")
    options = parser.parse_args()
    if options.work is not None:
        more = {name: Path(folder) for name, folder in (one.split("=", 1) for one in options.more)}
        place = Place(options.work.resolve(), options.workers, options.batch_size, more)
        asks = [one for one in asked_of(SIZES[options.size], more) if options.only in (None, one.checkpoint)]
        if not options.no_ask:
            ask_all(place, SIZES[options.size], asks, options.jobs)
        for world in WORLDS:
            file = options.out / f"{world.preset}.json"
            measured = measure(place, world, asks)
            results.write(file, measured if options.only is None else joined(file, measured))
    elif options.docs is None:
        parser.error("expected --work DIR, --docs PAGE or both")
    found = [store.read_json(options.out / f"{world.preset}.json", dict[str, Any]) for world in WORLDS]
    for table in probe_tables.of_quality(found):
        print(f"\n{table.markdown()}")
    if options.docs is not None:
        probe_tables.put_in(options.docs, probe_tables.of_quality(found))


if __name__ == "__main__":
    main()
