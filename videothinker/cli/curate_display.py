"""What `vt curate` prints of what it made, listed or checked."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from videothinker.cli.console import out, warn
from videothinker.errors import VtError
from videothinker.records import DECIDED, Rule

if TYPE_CHECKING:
    from videothinker.curate.check import Checked
    from videothinker.curate.datasets import Dataset
    from videothinker.curate.datasets.clevrer.build import ClevrerCuration
    from videothinker.curate.question_set import Counted


def show_set(counted: "Counted", folder: Path) -> None:
    """Print on one screen what was curated of any set but CLEVRER."""
    from videothinker.curate.datasets.rows import how_many

    curation, manifest = counted.curation, counted.curation.manifest
    asked, n_clips = manifest["questions"], len({one.question.path for one in curation.members if one.question.clip})
    out.print(
        f"[bold]{asked['n_read']:,}[/bold] questions = [bold]{asked['n_labelled']:,}[/bold] usable "
        f"+ [bold]{asked['n_unresolved']:,}[/bold] unresolved, about {how_many(n_clips, 'clip')}"
    )
    forms = Counter(one.question.form.value for one in curation.members)
    out.print("forms          " + ", ".join(f"{form} {n:,}" for form, n in forms.items()))
    if len(manifest["shown"]) > 1:
        out.print("shown          " + ", ".join(f"{kind} {n:,}" for kind, n in manifest["shown"].items()))
    out.print(f"chance         {manifest['chance']:.1%} of random answers are right")
    out.print("splits         " + ", ".join(f"{each} {n:,}" for each, n in manifest["splits"].items()))
    for facet, counts in manifest["facets"].items():
        out.print(f"{_facet_name(facet):<14} {_values(counts)}", soft_wrap=True, markup=False, highlight=False)
    if curation.videos_root is not None:
        n_there = n_clips - len(manifest["missing_videos"])
        out.print(f"clips          {n_there:,} of {n_clips:,} are in {escape(str(curation.videos_root))}", soft_wrap=True)
    for reason, n in list(manifest["unresolved"].items())[:_N_TOLD]:
        out.print(f"kept out       {n:,}: {reason}", soft_wrap=True, markup=False, highlight=False)
    if (n := len(manifest["unresolved"]) - _N_TOLD) > 0:
        out.print(f"kept out       for {n} more reasons; see unresolved.jsonl")
    for note in counted.notes:
        out.print(f"note           {note}", soft_wrap=True, markup=False, highlight=False)
    for warning in counted.warnings:
        warn(warning)
    name = escape(str(folder))
    out.print(f"\n[bold]{name}[/bold]: open {name}/report.html, then", soft_wrap=True)
    out.print(f"  vt curate check {name}", soft_wrap=True)
    out.print(f"  vt diagnose --model solver:random --data {name} --out runs", soft_wrap=True)


_N_TOLD = 6
"""Most values of a facet, or reasons, on the screen; the report has all."""


def _facet_name(facet: str) -> str:
    return facet.replace("_", " ")


def _values(counts: dict[str, int]) -> str:
    told = ", ".join(f"{value} {n:,}" for value, n in list(counts.items())[:_N_TOLD])
    return f"{told} and {len(counts) - _N_TOLD} more" if len(counts) > _N_TOLD else told


def show_list(known: "Mapping[str, Dataset]") -> None:
    """Print the data sets that can be curated, by name."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    for overflow in ("ignore", "ignore", "fold"):
        table.add_column(overflow=overflow, no_wrap=overflow == "ignore")
    for name, one in known.items():
        for index, (what, told) in enumerate(_told(one)):
            table.add_row(f"[bold]{name}[/bold]" if index == 0 else "", what, escape(told))
    out.print(table)


def _told(one: "Dataset") -> list[tuple[str, str]]:
    """What the list says of a data set, line by line."""
    lines = [("asks", one.what), ("--from", one.needs), ("origin", one.origin), ("size", one.size), ("licence", one.licence)]
    if one.clips:
        lines.append(("clips", f"looked for in {', '.join(f'{folder}/' for folder in one.clips)} beside it, or in --videos"))
    if one.benchmark is not None:
        over = one.benchmark.macro_over
        lines.append(("quoted", "share of right answers" if over is None else f"mean of the shares of right answers by {over}"))
    return lines + [("variant", f"{name}: {told}") for name, told in one.variants.items()]


def show_check(result: "Checked", folder: Path) -> None:
    """Print what a check found.

    Raises:
        VtError: it found something wrong.
    """
    if result.problems:
        more = f" (and {len(result.problems) - 1} more)" if len(result.problems) > 1 else ""
        raise VtError(f"{folder}: {result.problems[0]}{more}; make the folder again with `vt curate`")
    out.print(f"gold answers   {result.n_graded:,} questions, each earns 1.0")
    out.print(f"counts         {result.n_read:,} read = {result.n_labelled:,} usable + {result.n_unresolved:,} unresolved")
    out.print("files          manifest, questions, labels and splits agree")


def show_clevrer(release: "ClevrerCuration", folder: Path) -> None:
    """Print what was curated on one screen: counts, the three rules side by side, warnings and the next commands."""
    from rich.table import Table

    manifest = release.curation.manifest
    asked = manifest["questions"]
    n_labelled = asked["n_labelled"]
    out.print(
        f"[bold]{asked['n_read']:,}[/bold] counterfactual questions = [bold]{n_labelled:,}[/bold] labelled "
        f"+ [bold]{asked['n_unresolved']:,}[/bold] unresolved, in {len(release.scenes):,} scenes"
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("rule")
    for heading in (*DECIDED, "observer on obs.", "on inf."):
        table.add_column(heading, justify="right")
    for rule in Rule:
        observer = manifest["observer"][rule]
        counts = [f"{n:,} {n / n_labelled:6.1%}" if (n := observer[kind]["n_questions"]) else _DASH for kind in DECIDED]
        chosen = rule == manifest["rule"]
        cells = (f"{rule} *" if chosen else rule, *counts, *(_percent(observer[kind]["exact"]) for kind in DECIDED))
        table.add_row(*cells, style="bold" if chosen else None)
    out.print()
    out.print(table)
    out.print("* decides the category; observer: answered exactly right by watching alone", style="dim")
    out.print()
    _show_readings(manifest)
    out.print()
    for line in _split_lines(manifest):
        out.print(line)
    if (paper := manifest["paper"]) is not None:
        out.print(_paper_line(paper))
    for warning in manifest["warnings"]:
        warn(warning)
    name = escape(str(folder))
    if not manifest["splits"]:
        out.print(f"\nno question was labelled; [bold]{name}/unresolved.jsonl[/bold] says why", soft_wrap=True)
        return
    split = "dev" if "dev" in manifest["splits"] else next(iter(manifest["splits"]))
    out.print(f"\n[bold]{name}[/bold]: open {name}/report.html, then", soft_wrap=True)
    out.print(f"  vt curate check {name}", soft_wrap=True)
    out.print(f"  vt diagnose --model solver:observer --data {name} --split {split} --out runs", soft_wrap=True)


def _show_readings(manifest: dict[str, Any]) -> None:
    """What can be seen of the log, and what each reading of the paper's sentence makes of it."""
    from rich.table import Table

    from videothinker.curate.datasets.clevrer.paper import ANSWERABLE, AS_LOGGED, SEEN

    readings = manifest["readings"]
    n = readings["n_questions"][ANSWERABLE]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(f"observational of {n['all']:,} with a correct option")
    for heading in ("seen", "as logged", "will", "will not"):
        table.add_column(heading, justify="right")
    for reading, logs in readings["observational"].items():
        seen, logged = logs[SEEN][ANSWERABLE], logs[AS_LOGGED][ANSWERABLE]
        shares = (_percent(seen[kind] / n[kind] if n[kind] else None) for kind in ("will", "will not"))
        table.add_row(reading, f"{seen['all']:,}", f"{logged['all']:,}", *shares)
    out.print(table)
    view = manifest["view"]
    n_unseen, n_logged = view["n_collisions_out_of_view"], view["n_collisions"]
    out.print(f"out of view: {n_unseen:,} of {n_logged:,} logged collisions, which only 'as logged' counts", style="dim")
    if unknown := view["n_annotations_without_view"]:
        out.print(
            f"{unknown:,} of {view['n_annotations']:,} annotations do not say what is in view: all theirs count", style="dim"
        )


_DASH = "\u2013"


def _percent(share: float | None) -> str:
    return _DASH if share is None else f"{share:.1%}"


def _split_lines(manifest: dict[str, Any]) -> list[str]:
    splits = ", ".join(f"{split} {n:,}" for split, n in manifest["splits"].items()) or "none"
    training = manifest["training_set"]
    lines = [f"splits         {splits}"]
    if "train" in manifest["splits"]:
        parts = " + ".join(f"{training[kind]:,} {kind}" for kind in DECIDED)
        left = f", {training['left_out']:,} left out" if training["left_out"] else ""
        lines.append(f"training set   {training['n_questions']:,} = {parts}{left}")
    return lines


def _paper_line(paper: dict[str, Any]) -> str:
    n = paper["n_questions"]
    found = ", ".join(f"{rule} {part['found']:,} ({part['difference']:+,})" for rule, part in paper["observational"].items())
    observational = next(iter(paper["observational"].values()))["paper"]
    matches = ", ".join(f"{one['reading']} {one['log']} {one['questions']}" for one in paper["matches_paper"]) or "no reading"
    return (
        f"the paper      {observational:,} of {n['paper']:,} observational; here of {n['labelled']:,}: {found}\n"
        f"exactly so     {matches}"
    )
