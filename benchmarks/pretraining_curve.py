"""The curve of a pretrained base: losses, and whole answers right on unseen and on trained scenes, by step; light and dark.

    .venv/bin/python benchmarks/pretraining_curve.py reports/pretraining-world

Reads metrics.jsonl and run.json there and writes docs/img/pretraining.png and pretraining-dark.png. Prints what
reports/LOG.md says of it: the shares with their intervals, and how the losses fall within a round of clips.
"""

import json
import math
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

PICTURES = Path(__file__).parents[1] / "docs" / "img"
THEMES = {
    "": {"ground": "#ffffff", "ink": "#1a1c1f", "faint": "#5c636b", "grid": "#e3e6ea", "band": "#f3f4f6"}
    | {"blue": "#0072b2", "orange": "#d55e00", "green": "#009e73"},
    "-dark": {"ground": "#16181c", "ink": "#eceef1", "faint": "#a7aeb7", "grid": "#30343b", "band": "#22252b"}
    | {"blue": "#56b4e9", "orange": "#e69f00", "green": "#2fc497"},
}
LOSSES = {
    "loss_tracks": ("tracks, nats a reply token", "blue"),
    "loss_questions": ("questions, nats a reply token", "orange"),
    "perception": ("perception, nats a cell with an object", "green"),
}
SHARES = {"observed": ("what is seen", "blue"), "counterfactual": ("what would happen", "orange")}
SETS = {"unseen": "-", "trained": ":"}
N_PARTS = 8
"""Of a round, in the printed table."""

Rows = list[dict[str, Any]]


def main() -> None:
    folder = Path(sys.argv[1])
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    run = json.loads((folder / "run.json").read_text())
    settings = run["settings"]
    begins = next(
        row["step"]
        for row in rows
        if row["gone"] >= 1 - settings["optimizer"]["decay_share"] - settings["optimizer"].get("settle_share", 0.0)
    )
    asked = [
        row for row, before in zip(rows, [None, *rows], strict=False) if row["unseen"] and (not before or before["gone"] < 1)
    ]
    for suffix, colours in THEMES.items():
        figure = Figure(figsize=(7.2, 2.7), facecolor=colours["ground"])
        losses, shares = (figure.add_axes((left, 0.15, 0.43, 0.75)) for left in (0.05, 0.55))
        _losses(losses, rows, colours)
        _shares(shares, asked, colours)
        for axes, title in ((losses, "loss"), (shares, "whole answers right, %")):
            _plain(axes, title, rows[-1]["step"], begins, colours)
        figure.savefig(PICTURES / f"pretraining{suffix}.png", dpi=200, metadata={"Software": None})
    for row in asked:
        for scenes in SETS:
            n = row[scenes]["n_questions"]
            said = [f"{key} {100 * row[scenes][key]:.1f} +- {100 * _half(row[scenes][key], n):.1f}" for key in reversed(SHARES)]
            print(f"gone {row['gone']:.2f}, step {row['step']:,}, {scenes}, {n:,} questions:", ", ".join(said))
    per_step = settings["optimizer"]["rows"] // run["result"]["processes"]
    length = settings["compute"]["clips_a_round"] * settings["lessons"]["rows"] // per_step
    for key in LOSSES:
        parts = _within_a_round([row for row in rows if begins / 2 < row["step"] < begins], key, length)
        print(f"{key}, eighths of a round of {length} steps:", " ".join(f"{part:.3f}" for part in parts))


def _half(share: float, n: int) -> float:
    """Half a 95 % interval of a share of n, as if all were drawn by themselves."""
    return 1.96 * math.sqrt(share * (1 - share) / n)


def _within_a_round(rows: Rows, key: str, length: int) -> list[float]:
    """Mean loss of each part of a round, by least squares from means of steps that end anywhere in one, and a slope."""
    shares, means = [], []
    for before, row in pairwise(rows):
        parts = np.arange(before["step"], row["step"]) % length * N_PARTS // length
        shares.append([*np.bincount(parts, minlength=N_PARTS) / len(parts), row["step"] / rows[-1]["step"] - 0.75])
        means.append(row[key])
    found, *_ = np.linalg.lstsq(np.array(shares), np.array(means), rcond=None)
    return [float(part) for part in found[:N_PARTS]]


def _plain(axes: Axes, title: str, last: int, begins: int, colours: dict[str, str]) -> None:
    axes.set(xlim=(0, 1.015 * last), facecolor=colours["ground"])
    axes.set_title(title, loc="left", fontsize=8, fontweight="bold", color=colours["ink"], pad=5)
    axes.set_xlabel("step", loc="right", fontsize=7, color=colours["faint"], labelpad=1)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))
    axes.tick_params(labelsize=7, labelcolor=colours["faint"], length=0, pad=3)
    axes.grid(color=colours["grid"], linewidth=0.5)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    axes.axvspan(begins, last, color=colours["band"], linewidth=0, zorder=0)
    place = {"transform": axes.get_xaxis_transform(), "ha": "center", "va": "top"}
    axes.text((begins + last) / 2, 0.98, "the rate falls", fontsize=7, color=colours["faint"], **place)


def _losses(axes: Axes, rows: Rows, colours: dict[str, str]) -> None:
    axes.set(yscale="log", ylim=(0.02, 8), yticks=[0.03, 0.1, 0.3, 1, 3])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(which="minor", length=0)
    for line, (key, (name, colour)) in enumerate(LOSSES.items()):
        axes.plot([row["step"] for row in rows], [row[key] for row in rows], color=colours[colour], lw=0.9)
        axes.text(0.12, 0.88 - 0.085 * line, name, transform=axes.transAxes, va="top", fontsize=7, color=colours[colour])


def _shares(axes: Axes, asked: Rows, colours: dict[str, str]) -> None:
    axes.set(ylim=(0, 100), yticks=range(0, 101, 20))
    steps = [row["step"] for row in asked]
    for key, (name, colour) in SHARES.items():
        for scenes, style in SETS.items():
            shares = [row[scenes][key] for row in asked]
            axes.plot(steps, [100 * p for p in shares], color=colours[colour], lw=1.1, linestyle=style)
            if scenes == "unseen":
                halves = [100 * _half(p, row[scenes]["n_questions"]) for p, row in zip(shares, asked, strict=True)]
                axes.errorbar(
                    steps, [100 * p for p in shares], halves, color=colours[colour], lw=0, elinewidth=1.1, marker="o", ms=2.5
                )
        above = key == "observed"
        place = {"ha": "left", "va": "bottom" if above else "top", "fontsize": 7}
        axes.text(0.37 * steps[-1], 79 if above else 54, name, color=colours[colour], **place)
    axes.text(
        0.37 * steps[-1],
        5,
        "solid: unseen scenes, with 95 % intervals\ndotted: trained scenes",
        fontsize=7,
        color=colours["faint"],
    )


if __name__ == "__main__":
    main()
