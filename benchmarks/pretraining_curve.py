"""The curve of a base that was pretrained in pieces: its losses, and its right answers on unseen and on trained scenes.

    python benchmarks/pretraining_curve.py reports/pretraining-world

Reads metrics.jsonl and run.json of each folder there, in the order of their names, and draws docs/img/pretraining.png and, for
dark pages, pretraining-dark.png. Prints what reports/LOG.md says of it: the shares with their intervals, and for pieces whose
learning rate stays high for a while how the losses fall within a round of clips.
"""

import argparse
import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

PICTURES = Path(__file__).parents[1] / "docs" / "img"
THEMES = {
    "": {"ground": "#ffffff", "ink": "#1a1c1f", "faint": "#5c636b", "grid": "#e3e6ea"}
    | {"blue": "#0072b2", "orange": "#d55e00", "green": "#009e73"},
    "-dark": {"ground": "#16181c", "ink": "#eceef1", "faint": "#a7aeb7", "grid": "#30343b"}
    | {"blue": "#56b4e9", "orange": "#e69f00", "green": "#2fc497"},
}
LOSSES = {
    "loss_tracks": ("tracks, nats per reply token", "blue"),
    "loss_questions": ("questions, nats per reply token", "orange"),
    "perception": ("perception, nats per cell with an object", "green"),
}
SHARES = {"counterfactual": ("what would happen", "orange"), "observed": ("what is seen", "blue")}
SETS = {"unseen": "-", "trained": ":"}
N_PARTS = 8
"""Parts into which the printed table cuts a round of clips."""

Rows = list[dict[str, Any]]


class Piece(NamedTuple):
    """A run of `vt pretrain`."""

    name: str
    rows: Rows
    """Its metrics.jsonl."""
    settings: dict[str, Any]
    n_processes: int
    before: int
    """Steps that the pieces before it took."""

    @property
    def asked(self) -> Rows:
        """The rows with scores. Of several at the end of the run only the last, whose scores are the checkpoint's."""
        scored = [row for row in self.rows if row["unseen"]]
        return [row for row, after in zip(scored, [*scored[1:], None], strict=True) if after is None or row["gone"] < 1]

    @property
    def high_until(self) -> int:
        """The step at which the learning rate begins to fall."""
        optimizer = self.settings["optimizer"]
        high = 1 - optimizer["decay_share"] - optimizer.get("settle_share", 0.0)
        return next(row["step"] for row in self.rows if row["gone"] >= high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="folder with a folder for each piece")
    parser.add_argument("--out", type=Path, default=PICTURES, help="folder of the two pictures")
    options = parser.parse_args()
    pieces = _pieces(options.runs)
    draw(pieces, options.out)
    for piece in pieces:
        tell(piece)


def draw(pieces: list[Piece], out: Path) -> None:
    """Write the picture for light and for dark pages."""
    for suffix, colours in THEMES.items():
        figure = Figure(figsize=(7.2, 2.9), facecolor=colours["ground"])
        losses, shares = (figure.add_axes((left, 0.14, 0.43, 0.77)) for left in (0.05, 0.55))
        _losses(losses, pieces, colours)
        _shares(shares, pieces, colours)
        for axes, title in ((losses, "loss"), (shares, "whole answers right, %")):
            _plain(axes, title, pieces, colours)
        figure.savefig(out / f"pretraining{suffix}.png", dpi=200, metadata={"Software": None})


def tell(piece: Piece) -> None:
    """Print the shares of a piece, and how its losses fall within a round of clips while the learning rate is high."""
    print(piece.name)
    for row in piece.asked:
        for scenes in SETS:
            n = row[scenes]["n_questions"]
            said = [f"{key} {100 * row[scenes][key]:.1f} +- {100 * _half(row[scenes][key], n):.1f}" for key in SHARES]
            print(f"gone {row['gone']:.2f}, step {row['step']:,}, {scenes}, {n:,} questions:", ", ".join(said))
    per_step = piece.settings["optimizer"]["rows"] // piece.n_processes
    length = piece.settings["compute"]["clips_a_round"] * piece.settings["lessons"]["rows"] // per_step
    steady = [row for row in piece.rows if piece.high_until / 2 < row["step"] < piece.high_until]
    if len(steady) > 4 * N_PARTS:
        for key in LOSSES:
            parts = _within_a_round(steady, key, length)
            print(f"{key}, eighths of a round of {length} steps:", " ".join(f"{part:.3f}" for part in parts))


def _pieces(folder: Path) -> list[Piece]:
    pieces: list[Piece] = []
    for one in sorted(path.parent for path in folder.glob("*/metrics.jsonl")):
        rows = [json.loads(line) for line in (one / "metrics.jsonl").read_text().splitlines()]
        run = json.loads((one / "run.json").read_text())
        before = pieces[-1].before + pieces[-1].rows[-1]["step"] if pieces else 0
        pieces.append(Piece(one.name, rows, run["settings"], run["result"]["processes"], before))
    return pieces


def _half(share: float, n: int) -> float:
    """Half of the 95 % interval of a share of n, as if the n were independent."""
    return 1.96 * math.sqrt(share * (1 - share) / n)


def _within_a_round(rows: Rows, key: str, length: int) -> list[float]:
    """Mean loss of each part of a round of `length` steps.

    A row holds the mean over steps that may begin and end anywhere in a round. Least squares find the parts, and a slope over
    the steps, from which those means would follow best.
    """
    shares, means = [], []
    for before, row in pairwise(rows):
        parts = np.arange(before["step"], row["step"]) % length * N_PARTS // length  # the part that each step falls into
        shares.append([*np.bincount(parts, minlength=N_PARTS) / len(parts), row["step"] / rows[-1]["step"] - 0.75])
        means.append(row[key])
    found, *_ = np.linalg.lstsq(np.array(shares), np.array(means), rcond=None)
    return [float(part) for part in found[:N_PARTS]]


def _plain(axes: Axes, title: str, pieces: list[Piece], colours: dict[str, str]) -> None:
    last = pieces[-1].before + pieces[-1].rows[-1]["step"]
    axes.set(xlim=(0, 1.015 * last), facecolor=colours["ground"])
    axes.set_title(title, loc="left", fontsize=8, fontweight="bold", color=colours["ink"], pad=5)
    axes.set_xlabel("step", loc="right", fontsize=7, color=colours["faint"], labelpad=1)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))
    axes.tick_params(labelsize=7, labelcolor=colours["faint"], length=0, pad=3)
    axes.grid(color=colours["grid"], linewidth=0.5)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    for piece in pieces[1:]:
        axes.axvline(piece.before, color=colours["faint"], linewidth=0.7, linestyle=(0, (4, 3)), zorder=1)


def _losses(axes: Axes, pieces: list[Piece], colours: dict[str, str]) -> None:
    axes.set(yscale="log", ylim=(0.01, 8), yticks=[0.01, 0.03, 0.1, 0.3, 1, 3])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(which="minor", length=0)
    steps = [piece.before + row["step"] for piece in pieces for row in piece.rows]
    for line, (key, (name, colour)) in enumerate(LOSSES.items()):
        axes.plot(steps, [row[key] for piece in pieces for row in piece.rows], color=colours[colour], lw=0.7)
        _say(axes, (0.1, 0.74 - 0.08 * line), name, colours[colour], colours)
    rates = [row["learning_rate"] for piece in pieces for row in piece.rows]
    heights = [0.83 + 0.15 * rate / max(rates) for rate in rates]
    axes.fill_between(steps, 0.83, heights, transform=axes.get_xaxis_transform(), color=colours["grid"], linewidth=0, zorder=0)
    axes.text(0.05, 0.87, "learning rate", transform=axes.transAxes, fontsize=7, color=colours["faint"])


def _say(axes: Axes, place: tuple[float, float], text: str, colour: str, colours: dict[str, str]) -> None:
    """Write a text that hides the lines behind it."""
    ground = {"facecolor": colours["ground"], "edgecolor": "none", "pad": 1.5}
    axes.text(*place, text, transform=axes.transAxes, va="top", fontsize=7, color=colour, bbox=ground, zorder=5)


def _shares(axes: Axes, pieces: list[Piece], colours: dict[str, str]) -> None:
    axes.set(ylim=(0, 100), yticks=range(0, 101, 20))
    asked = [(piece.before + row["step"], row) for piece in pieces for row in piece.asked]
    steps = [step for step, _ in asked]
    for key, (name, colour) in SHARES.items():
        for scenes, style in SETS.items():
            shares = [row[scenes][key] for _, row in asked]
            axes.plot(steps, [100 * p for p in shares], color=colours[colour], lw=1.1, linestyle=style)
            if scenes == "unseen":
                halves = [100 * _half(p, row[scenes]["n_questions"]) for p, (_, row) in zip(shares, asked, strict=True)]
                axes.errorbar(
                    steps, [100 * p for p in shares], halves, color=colours[colour], lw=0, elinewidth=1.1, marker="o", ms=2.5
                )
        _say(axes, (0.16, 0.93 if key == "observed" else 0.52), name, colours[colour], colours)
    legend = "solid: unseen scenes, with 95 % intervals\ndotted: trained scenes\ndashed: a new piece begins"
    _say(axes, (0.41, 0.2), legend, colours["faint"], colours)


if __name__ == "__main__":
    main()
