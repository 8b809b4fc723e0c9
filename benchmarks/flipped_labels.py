"""What do wrong labels do to a bias model and to its gate? Labels are flipped at 0, 1, 3 and 10 %.

    python benchmarks/flipped_labels.py --work DIR [--jobs 6]          # all parts, with trainings at the study's size: a GPU
    python benchmarks/flipped_labels.py --work DIR --parts arithmetic,seen --world WORLD      # minutes of a CPU
    python benchmarks/flipped_labels.py --docs docs/probe.md           # only write the page's tables again
    python benchmarks/flipped_labels.py --work DIR --smoke             # everything at its smallest, to see that it runs

Every question's label is flipped with the same probability, by a hash of seed and question, so what is flipped at 1 % is so
at 3 %. The parts are

    arithmetic  what flips leave of the precision of a pool
    seen        one bias model, that of data/study, asked as its gate asks; the gate read again under many draws of flips
    trained     `vt train bias --labels FLIPPED` with several seeds on one world; its gate as flipped labels see it, and exact

A person with a noisy file has no other, so flips are in every split: the pool and the gate both see them. "exact" is the same
replies judged by the collision log. Whatever is made is kept in DIR and taken up again. What was expected stands in
reports/probe/claims.md.
"""

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import probe_tables
import results
from calling import ROOT, vt

from videothinker import store, tables
from videothinker.curate.split import fraction
from videothinker.curated import Curated, Labels, open_curated
from videothinker.diagnose import metrics, runs
from videothinker.recipes import training
from videothinker.records import Category, LabelSet, Rule
from videothinker.records.label import COLUMNS
from videothinker.records.training import GATE, GateVerdict
from videothinker.train.stage_files import load_stage
from videothinker.train.stages import Stage, StageConfig

STUDY, CONFIG = ROOT / "data" / "study", ROOT / "configs" / "bias-tiny.toml"
FLIPPED = (0.0, 0.01, 0.03, 0.10)
OTHER = {Category.OBSERVATIONAL: Category.INFERENTIAL, Category.INFERENTIAL: Category.OBSERVATIONAL}
WORLD_SEED = 23


class Size(NamedTuple):
    """How much is made, trained and drawn."""

    scenes: int
    pool: int
    """Questions of the training set, 74 % of them observational before flips."""
    dev_share: float
    draws: int
    seeds: tuple[int, ...]
    overrides: tuple[str, ...]
    """Of configs/bias-tiny.toml."""


ASKED = ("rollouts.max_new_tokens=96",)
WHOLE = Size(
    8000,
    3200,
    0.2,
    200,
    (1, 2, 3),
    (
        *ASKED,
        *("optimizer.steps=200", "optimizer.learning_rate=3e-5", "rollouts.questions_per_step=64", "rollouts.n_replies=8"),
        *("data.n_questions=3200", "alarms.window=10", "saving.save_every=1000"),
    ),
)
SMOKE = Size(40, 10, 0.4, 5, (1,), ("rollouts.max_new_tokens=4", "optimizer.steps=1", "data.n_questions=10"))
"""Two shares are trained on in place of four."""


def flips(ids: Sequence[str], share: float, seed: int) -> set[str]:
    """Which questions' labels are flipped: a larger share flips those of a smaller one too."""
    return {name for name in ids if fraction(seed, f"flipped {name}") < share}


def flipped(labels: LabelSet, share: float, seed: int) -> LabelSet:
    """The log's labels with some categories the other way round; what the observer answers stays."""
    wrong = flips(list(labels.by_question), share, seed)
    observer = f"flipped-{100 * share:g}"
    rows = {
        name: msgspec.structs.replace(one, observer=observer, category=OTHER[one.category] if name in wrong else one.category)
        for name, one in labels.by_question.items()
    }
    return LabelSet(observer, labels.rule, rows)


def write_labels(path: Path, labels: LabelSet) -> Path:
    """A label file, as `--labels` takes it."""
    rows = [
        {
            "question_id": one.question_id,
            "observer": one.observer,
            "rule": one.rule,
            "category": one.category.value,
            "answer": tables.joined(one.answer),
            "reason": one.reason,
        }
        for one in labels.by_question.values()
    ]
    store.write_bytes(path, tables.to_bytes(rows, COLUMNS))
    return path


def precision(observational: float, share: float) -> dict[str, float]:
    """What is left of the precision of both categories where a share of all labels is flipped.

    observational: the share of questions that really are. Of those called observational, `observational (1 - share)` are so
    and `(1 - observational) share` are not; of those called inferential it is the other way round.
    """
    right = {Category.OBSERVATIONAL: observational * (1 - share), Category.INFERENTIAL: (1 - observational) * (1 - share)}
    wrong = {Category.OBSERVATIONAL: (1 - observational) * share, Category.INFERENTIAL: observational * share}
    return {kind.value: right[kind] / (right[kind] + wrong[kind]) for kind in right}


def arithmetic() -> list[dict[str, Any]]:
    """Precisions at the paper's share of observational questions and at the calibrated world's."""
    return [{"share": p, "flipped": f, **precision(p, f)} for p in (0.74, 0.55) for f in FLIPPED]


class Place(NamedTuple):
    """Where things lie, and how much is made."""

    work: Path
    world: Path
    size: Size
    workers: int | None
    seen_share: float | None = None
    """Share of the scenes whose questions the part `seen` asks; None asks about all."""

    @property
    def base(self) -> Path:
        return STUDY / "base"

    def curated(self, name: str, *options: object) -> Path:
        """The world, made and curated if it is not there."""
        of_workers = () if self.workers is None else ("--workers", self.workers)
        if not (self.world / "train.json").is_file():
            what = ("--scenes", self.size.scenes, "--seed", WORLD_SEED, "--preset", "clevrer")
            vt("world", "make", self.world, *what, "--size", "240x160", "--only-asked", *of_workers)
        out = self.work / name
        if not (out / "manifest.json").is_file():
            read = ("--annotations", self.world / "annotation_train", "--questions", self.world / "train.json")
            seen = ("--videos", self.world / "video_train", "--rule", "oracle", "--out", out)
            vt("curate", "clevrer", *read, *seen, *options, *of_workers)
        return out


# ---- one bias model, its gate under many draws of flips ----------------------------------------------------------------


def seen(place: Place) -> dict[str, Any]:
    """The gate of data/study's bias model on the world's questions, as flipped labels see it.

    A draw of flips changes no reply, so hundreds cost seconds. `expected_inferential` is what `precision` and the exact changes
    say of the inferential change.
    """
    which = ("--split", "dev") if place.seen_share is None else ("--dev-share", place.seen_share)
    data = open_curated(place.curated("seen-curated", *which))
    bias = place.work / "bias"
    if not bias.is_dir():
        vt("checkpoint", "unpack", STUDY / "bias.delta", "--base", place.base, "--out", bias)
    settings = load_stage(Stage.BIAS, CONFIG, place.size.overrides)
    exact = training.gate(settings, data, start=str(place.base), bias=bias)
    pair = _pair(bias, data)
    rows = [_seen_at(share, place.size.draws, settings, pair, exact) for share in FLIPPED]
    return {"draws": place.size.draws, "n_questions": len(pair[0].questions), "exact": _told(exact), "rows": rows}


def _pair(bias: Path, data: Curated, rule: str | None = None) -> list[runs.Run]:
    """The answers of the start and of the bias model, as the gate has asked them."""
    return runs.load_runs([bias / "gate" / "sampled" / name for name in ("start", "bias")], data, rule)


def _seen_at(share: float, draws: int, settings: StageConfig, pair: Sequence[runs.Run], exact: GateVerdict) -> dict[str, Any]:
    own = pair[0].labels.own
    assert own is not None
    verdicts = [_judged(settings, [_relabelled(one, flipped(own, share, seed)) for one in pair]) for seed in range(draws)]
    real = [own.by_question[one.question_id].category for one in pair[0].questions]
    left = precision(real.count(Category.OBSERVATIONAL) / len(real), share)[Category.INFERENTIAL.value]
    inferential, observational = (exact.changes.inferential.value or 0.0, exact.changes.observational.value or 0.0)
    return {
        "flipped": share,
        "inferential": [one.changes.inferential.value for one in verdicts],
        "observational": [one.changes.observational.value for one in verdicts],
        "expected_inferential": left * inferential + (1 - left) * observational,
        "verdicts": Counter(one.verdict.value for one in verdicts if one.verdict),
    }


def _relabelled(one: runs.Run, labels: LabelSet) -> runs.Run:
    by = Labels([labels], labels)
    return one._replace(labels=by, metrics=metrics.summarize(one.questions, one.predictions, by))


def _judged(settings: StageConfig, pair: Sequence[runs.Run]) -> GateVerdict:
    told = {"split": "dev", "rule": None, "temperature": settings.rollouts.temperature, "fast": False}
    return training.judge_runs(pair, settings, **told)


def _told(verdict: GateVerdict) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(verdict)
    return {key: found[key] for key in ("verdict", "reasons", "start", "bias", "changes")}


# ---- bias models that were trained on flipped labels ---------------------------------------------------------------------


def trained(place: Place, jobs: int, shares: Sequence[float]) -> list[dict[str, Any]]:
    """A bias model for each share and seed, and its two gates."""
    size = place.size
    what = ("--observational-share", 0.74, "--train-size", size.pool, "--dev-share", size.dev_share)
    folder = place.curated("trained-curated", *what)
    data = open_curated(folder)
    exact = data.labels.own
    assert exact is not None
    wanted = [(share, seed) for seed in size.seeds for share in shares]
    files = {
        (share, seed): write_labels(place.work / "labels" / f"{100 * share:g}-s{seed}.parquet", flipped(exact, share, seed))
        for share, seed in wanted
    }

    def train(key: tuple[float, int]) -> None:
        out = _folder(place, *key)
        if not (out / GATE).is_file():
            sets = [part for one in (*size.overrides, f"seed={key[1]}") for part in ("--set", one)]
            of = ("--data", folder, "--model", place.base, "--labels", files[key], "--out", out)
            vt("train", "bias", "--config", CONFIG, *of, *sets, at_once=min(jobs, len(wanted)))

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(train, wanted))
    return [_trained_row(place, folder, share, seed, files[share, seed]) for share, seed in wanted]


def _folder(place: Place, share: float, seed: int) -> Path:
    return place.work / "trained" / f"{100 * share:g}-s{seed}"


def _trained_row(place: Place, folder: Path, share: float, seed: int, file: Path) -> dict[str, Any]:
    out = _folder(place, share, seed)
    data = open_curated(folder, label_files=[file])
    settings = load_stage(Stage.BIAS, CONFIG, (*place.size.overrides, f"seed={seed}"))
    pool = [
        data.labels.category(one.question.question_id)
        for one in data.members
        if one.split == "train"
        and one.in_train_set
        and data.labels_by(None).category(one.question.question_id) is Category.OBSERVATIONAL
    ]
    return {
        "flipped": share,
        "seed": seed,
        "pool": len(pool),
        "pool_precision": pool.count(Category.OBSERVATIONAL) / len(pool),
        "as seen": _told(store.read_json(out / GATE, GateVerdict)),
        "exact": _told(_judged(settings, _pair(out, data, Rule.ORACLE))),
    }


# ---- the command -----------------------------------------------------------------------------------------------------------


PARTS = ("arithmetic", "seen", "trained")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, metavar="DIR", help="where everything is made; may exist")
    parser.add_argument("--world", type=Path, metavar="DIR", help="a world that is there; default DIR/world, which is made")
    parser.add_argument("--parts", default=",".join(PARTS), help="some of %(default)s; the others stay as --out has them")
    parser.add_argument("--seen-share", type=float, metavar="F", help="of the scenes, in the part seen; default all")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at once")
    parser.add_argument("--workers", type=int, help="processes that make a world; default one per core")
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--docs", type=Path, metavar="PAGE", help="write the tables between the page's marks")
    parser.add_argument("--out", type=Path, default=ROOT / "reports" / "probe" / "flips.json", metavar="FILE.json")
    options = parser.parse_args()
    if options.work is not None:
        parts = [name for name in PARTS if name in options.parts.split(",")]
        results.write(options.out, {**_before(options.out), **_measured(options, parts)})
    elif options.docs is None:
        parser.error("expected --work DIR, --docs PAGE or both")
    found = probe_tables.of_flips(store.read_json(options.out, dict[str, Any]))
    for table in found:
        print(f"\n{table.markdown()}")
    if options.docs is not None:
        probe_tables.put_in(options.docs, found)


def _before(path: Path) -> Mapping[str, Any]:
    return store.read_json(path, dict[str, Any]) if path.is_file() else {}


def _measured(options: argparse.Namespace, parts: Sequence[str]) -> dict[str, Any]:
    work, size = options.work.resolve(), SMOKE if options.smoke else WHOLE
    place = Place(work, (options.world or work / "world").resolve(), size, options.workers, options.seen_share)
    shares = FLIPPED[:: len(FLIPPED) - 1] if options.smoke else FLIPPED
    found: dict[str, Any] = {}
    for part in parts:
        if part == "arithmetic":
            found[part] = arithmetic()
        elif part == "seen":
            found[part] = seen(place)
        else:
            found[part] = trained(place, options.jobs, shares)
    return found


if __name__ == "__main__":
    main()
