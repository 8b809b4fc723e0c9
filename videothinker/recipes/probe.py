"""Probe a checkpoint: its replies under several views, the labels that follow from them, and how good they are."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from videothinker import locks, shards, store, tables, twin
from videothinker.answers import Style
from videothinker.curated import Curated
from videothinker.diagnose import option_scores, probed, probing, protocols, solvers
from videothinker.diagnose.answerer import Answerer, check_clips
from videothinker.diagnose.identity import with_served
from videothinker.diagnose.job import by_clip
from videothinker.diagnose.limit import limited
from videothinker.diagnose.openers import OPENERS, Opened, Opening, kind_of
from videothinker.diagnose.probing import Asking
from videothinker.diagnose.served import said_of
from videothinker.diagnose.server import check_address
from videothinker.diagnose.settings import FREE, DiagnosisSettings
from videothinker.diagnose.views import View, deciding, shows_the_same
from videothinker.errors import VtError
from videothinker.fingerprint import fingerprint
from videothinker.observers.probe import Band
from videothinker.progress import Bars, no_bars, silent
from videothinker.prompts import Asked, template
from videothinker.records import Category, ProbeSummary, Question, Status
from videothinker.records.question import COLUMNS
from videothinker.reports.probe import probe_html, probe_page
from videothinker.shards import Shard

RUN = "run.json"
_OF_SETTINGS = ("split", *FREE)
"""Settings that may differ when a probe is resumed: what is asked, and how fast. Not what is replied."""


class Probing(NamedTuple):
    """What is asked of a checkpoint, and how its replies become labels."""

    views: list[View]
    decides: View
    samples: int
    band: Band
    splits: list[str]
    twin_column: str | None = None
    limit: int | None = None


def plan(
    curated: Curated,
    views: list[View],
    *,
    by: str | None = None,
    samples: int = 4,
    band: Band | None = None,
    splits: Sequence[str] = (),
    twin_column: str | None = None,
    limit: int | None = None,
) -> Probing:
    """A probe with everything checked that can be before anything is loaded. splits: none are all of the folder's.

    Raises:
        VtError: a number is out of bounds, or the set lacks a split, the column or any question that has a twin.
    """
    band = band or Band()
    if band.fault is not None:
        raise VtError(band.fault)
    for name, value in (("--samples", samples), ("--limit", limit)):
        if value is not None and value < 1:
            raise VtError(f"{name} is {value}, expected 1 or more")
    chosen = list(splits) or list(curated.manifest.splits)
    if not chosen:
        raise VtError(f"{curated.folder}: has no questions to probe")
    for split in chosen:
        curated.questions(split)
    return Probing(views, deciding(views, by), samples, band, chosen, twin_column, limit)


def probe(
    curated: Curated,
    ref: str,
    settings: DiagnosisSettings,
    probing_: Probing,
    out: Path,
    *,
    endpoints: Sequence[str] = (),
    clip_cache: bool = True,
    trust_remote_code: bool = False,
    resume: bool = True,
    shard: Shard | None = None,
    margins: bool = True,
    bars: Bars = no_bars,
    warn: Callable[[str], None] = silent,
) -> ProbeSummary | None:
    """Ask what is not answered yet, then write OUT (the label file) with a page and a JSON file beside it.

    Replies lie in a folder beside OUT, so that a killed probe goes on, and more samples or views cost only themselves.
    margins: also score every answer at once, where whatever answers can (`option_scores`).
    shard: ask about its clips alone, and write no labels (None is returned); without it, what shards have asked is taken in
    first, once all are finished.

    Raises:
        VtError: a shard is missing, or of another probe; OUT is no .parquet, another probe's replies lie beside it, no question
            could be labelled, or the checkpoint cannot be asked.
    """
    if out.suffix != ".parquet":
        raise VtError(f"--out {out}: expected the name of a file that ends in .parquet")
    if ref == f"{solvers.PREFIX}observer":
        raise VtError(f"--model {ref}: answers from the labels that a probe is to find; name a checkpoint or another solver")
    questions, twins, why_not = _questions(curated, probing_)
    decides = probing_.decides
    if all(shows_the_same(decides, one) for one in questions):
        raise VtError(f"{curated.folder}: none of {len(questions):,} questions shows what the view {decides.name} would change")
    if decides.asks_twin and not any(twins.values()):
        reasons = ", ".join(f"{n:,} because {reason}" for reason, n in Counter(why_not.values()).items())
        raise VtError(
            f"{curated.folder}: none of {len(questions):,} questions has a factual twin ({reasons}); give the twins' texts "
            "with --twin-column, or choose another view with --views, such as blind"
        )
    whole = replies_folder(out)
    folder, started = whole if shard is None else shard.folder(whole), datetime.now(UTC)
    if ref.startswith(solvers.PREFIX):  # which replies in our form, whatever checkpoints are asked in
        settings = msgspec.structs.replace(settings, protocol=protocols.OURS, prompt=settings.prompt or Style.COT)
    protocol = protocols.find(settings.protocol)
    for question in questions:
        protocol.of(question)  # one that it does not define shows before an hour of asking others
    if settings.template is not None:
        template.check(settings.template, questions, f"the prompt of {ref}")
    identity = _identity(curated, ref, settings, [one.question for one in curated.members], endpoints)
    no_margins = option_scores.unable(identity["kind"], settings.engine) if margins else "--no-margins was given"
    if shard is not None:
        shards.check_number(whole, shard)
        for other in (each.folder(whole) for each in shards.begun(whole) if each != shard):
            _check_same(other, identity)
        questions = by_clip(questions, shard)
    _claim(folder, identity, resume)
    try:
        if shard is None:
            take_in(folder, identity)
        else:
            (folder / shards.DONE).unlink(missing_ok=True)  # of fewer views or samples
        asking = probing.askings(questions, probing_.views, probing_.samples, twins)
        opening = Opening(ref, curated, settings, endpoints, clip_cache, trust_remote_code, warn)
        _ask(list(asking), opening, folder, scored=no_margins is None, bars=bars)
        if shard is not None:
            shards.mark(folder, shard, n_items=len(questions), started=started)
            return None
        return _label(curated, ref, settings, probing_, folder, out, questions, why_not, no_margins)
    finally:
        locks.release(folder)


def replies_folder(out: Path) -> Path:
    """Where the replies lie that a label file is made of."""
    return out.with_suffix(".replies")


def take_in(folder: Path, identity: dict[str, Any]) -> None:
    """Add the replies and scores of finished shards to the whole probe's in `folder`, but for those that it has.

    Raises:
        VtError: a shard is missing, or of another probe than `identity` says.
    """
    if not shards.begun(folder):
        return
    done = shards.finished(folder)
    for path, _ in done:
        _check_same(path, identity)
    held, scores = probing.read_replies(folder), option_scores.read_scores(folder)
    known = {key for key, row in held.items() if row.status is not Status.DECODE_ERROR}
    scored = {key for key, row in scores.items() if row.logps is not None}
    with (
        store.JsonlAppender(folder / probing.REPLIES) as replies_file,
        store.JsonlAppender(folder / option_scores.SCORES) as scores_file,
    ):
        for path, _ in done:
            for key, row in probing.read_replies(path).items():
                if key not in known and held.get(key) != row:
                    replies_file.append(row)
            for key, score in option_scores.read_scores(path).items():
                if key not in scored and scores.get(key) != score:
                    scores_file.append(score)


def _check_same(folder: Path, identity: dict[str, Any]) -> None:
    """Check that the shard in `folder`, if it has begun, is of this probe."""
    if (folder / RUN).is_file():
        said = with_served(store.read_json(folder / RUN, dict[str, Any]), identity.get("served"))
        advice = "remove the shards' folder to begin anew, or choose another --out"
        store.check_same(folder, said, identity, what="a shard of a probe", advice=advice)


def _questions(curated: Curated, wanted: Probing) -> tuple[list[Question], dict[str, str | None], dict[str, str]]:
    """The questions to ask, their twins' texts, and why some have none."""
    questions = [question for split in dict.fromkeys(wanted.splits) for question in curated.questions(split)]
    if wanted.limit is not None:
        ids = limited(questions, wanted.limit, curated.labels, curated.manifest.benchmark, set())
        questions = [question for question in questions if question.question_id in ids]
    if not questions:
        raise VtError(f"{curated.folder}: has no questions in {', '.join(wanted.splits)}")
    found = _twins(curated, questions, wanted.twin_column)
    twins = {key: one.text for key, one in found.items()}
    return questions, twins, {key: one.why_not for key, one in found.items() if one.why_not is not None}


def _twins(curated: Curated, questions: Sequence[Question], column: str | None) -> Mapping[str, twin.Twin]:
    if column is None:
        return {one.question_id: twin.twin(one.text, one.options) for one in questions}
    if column in COLUMNS or not any(column in one.facets for one in questions):
        there = ", ".join(dict.fromkeys(name for one in questions for name in one.facets)) or "none"
        raise VtError(
            f"--twin-column {column}: {curated.folder} has no such column of its own; its further columns are {there}; "
            "curate it in with --column facet:NAME=COLUMN"
        )
    texts = {one.question_id: one.facets.get(column, "").strip() for one in questions}
    return {key: twin.Twin(text, None) if text else twin.Twin(None, twin.NO_TEXT) for key, text in texts.items()}


def _identity(
    curated: Curated, ref: str, settings: DiagnosisSettings, questions: Sequence[Question], endpoints: Sequence[str]
) -> dict[str, Any]:
    kind = kind_of(ref, endpoint=bool(endpoints))
    said = {name: value for name, value in msgspec.to_builtins(settings).items() if name not in _OF_SETTINGS}
    if kind != "endpoint":
        del said["send"]  # which probes of earlier versions do not have
    served = said_of(endpoints, [ref]).get(ref)
    return {
        "model": ref,
        "kind": kind,
        "weights": fingerprint(Path(ref)) if kind == "checkpoint" else None,
        "settings": said,
        "questions": store.sha256_json(msgspec.to_builtins(list(questions))),
        **({} if served is None else {"served": served}),
    }


def _claim(folder: Path, identity: dict[str, Any], resume: bool) -> None:
    held = store.claim(
        folder,
        RUN,
        identity,
        what="a probe",
        advice="choose another --out, or --no-resume to ask everything anew",
        may_hold=lambda name: name == shards.FOLDER,
        replace=not resume,
        in_todays_form=lambda said: with_served(said, identity.get("served")),
    )
    if not resume:
        for name in (probing.REPLIES, option_scores.SCORES):
            (folder / name).unlink(missing_ok=True)
    if held is None or not resume:
        store.write_json(folder / RUN, {**identity, "provenance": store.provenance()})


def _ask(asking: Sequence[Asking], first: Opening, folder: Path, *, scored: bool, bars: Bars) -> None:
    """Ask what is missing, and score it if `scored`. first: what is opened, if anything is missing."""
    missing = probing.owed(asking, probing.read_replies(folder))
    unscored = option_scores.owed(option_scores.scorings(asking), option_scores.read_scores(folder)) if scored else []
    if not missing and not unscored:
        return
    for url in first.endpoints:
        check_address(url)
    kind = kind_of(first.ref, endpoint=bool(first.endpoints))
    if kind != "solver":
        check_clips(first.curated, first.ref)
    opened: list[Opened] = []

    def open_answerer(each: DiagnosisSettings) -> Answerer:
        if not opened:
            with bars(f"loading {first.ref}", None, "checkpoints"):
                opened.append(OPENERS[kind](first._replace(settings=each)))
        return opened[0](first.curated, each)

    if missing:
        with bars("probing", len(missing), "replies") as progress:
            probing.ask(missing, open_answerer, first.settings, folder, progress)
    if unscored:
        with bars("scoring answers", len(unscored), "questions") as progress:
            option_scores.score(unscored, open_answerer, first.settings, folder, progress)


def _label(
    curated: Curated,
    ref: str,
    settings: DiagnosisSettings,
    wanted: Probing,
    folder: Path,
    out: Path,
    questions: Sequence[Question],
    why_not: Mapping[str, str],
    no_margins: str | None,
) -> ProbeSummary:
    views, decides, band = wanted.views, wanted.decides, wanted.band
    replies = probing.read_replies(folder)
    heards, lost = probed.heard(questions, views, wanted.samples, replies)
    observer = f"probe:{_name(ref)}:{decides.name}"
    scores = option_scores.read_scores(folder) if no_margins is None else {}
    margins, first = (option_scores.margins(questions, views, n, scores) for n in (wanted.samples, 1))
    rows = probed.label_rows(questions, heards, margins, decides, band, observer)
    if not rows:
        raise VtError(f"{curated.folder}: no clip of {len(questions):,} questions could be read, so nothing was labelled")
    reasons = Counter(why_not.values()) if decides.asks_twin else Counter[str]()
    if n_same := sum(shows_the_same(decides, one) for one in questions):
        reasons[probed.SAME] += n_same
    if n_lost := len(lost[decides.name]):
        reasons[probed.LOST] += n_lost
    n_of = Counter(row["category"] for row in rows)
    by_question = heards[decides.name]
    summary = ProbeSummary(
        observer=observer,
        decides=decides.name,
        samples=wanted.samples,
        observational_from=band.observational_from,
        inferential_up_to=band.inferential_up_to,
        n_asked=len(questions),
        categories={kind.value: n_of[kind.value] for kind in Category},
        unlabelled=dict(reasons.most_common()),
        views=[probed.view_result(view, heards[view.name], wanted.samples * len(lost[view.name]), margins) for view in views],
        against=probed.against_logs(heards, decides, band, curated.labels, margins, first),
        halves=probed.halves_agree(by_question, band),
        asked=_asked(settings),
        no_margins=no_margins,
        without_margin={} if no_margins else option_scores.without(questions),
        provenance={**store.provenance(), "data": str(curated.folder), "model": ref},
    )
    store.write_json(out.with_suffix(".json"), summary)
    store.write_text(out.with_suffix(".md"), probe_page(summary))
    texts = {one.question_id: one.text for one in questions}
    store.write_bytes(out.with_suffix(".html"), probe_html(summary, texts, rows))
    store.write_bytes(out, tables.to_bytes(rows, probed.columns(views)))
    return summary


def _asked(settings: DiagnosisSettings) -> dict[str, object]:
    """How questions were put, for the page and whoever reads it."""
    words = f"the words of {settings.protocol}" if settings.prompt is None else Asked(settings.prompt, settings.template).told()
    return {"protocol": settings.protocol, "prompt": words, "template": msgspec.to_builtins(settings.template)}


def _name(ref: str) -> str:
    """A REF as part of an observer's name: letters, digits and a few signs, none of which parts names or paths elsewhere."""
    return re.sub(r"[^\w.:-]+", "-", ref).strip("-") or "checkpoint"
