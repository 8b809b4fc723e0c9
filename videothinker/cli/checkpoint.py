"""`vt checkpoint`: keep trained checkpoints as small files, blend two of them, and upload one."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from videothinker.cli import options, output
from videothinker.cli.console import out as console
from videothinker.cli.console import warn
from videothinker.cli.push import say_pushed

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Keep a trained checkpoint as its small difference from the one that training began with, blend two, or upload one.",
)

Base = Annotated[Path, typer.Option("--base", metavar="DIR", help="The bfloat16 checkpoint that training began with.")]

_PACK = """[bold]Example[/bold]

  vt checkpoint pack runs/grpo --base runs/base --out grpo.delta
"""

_UNPACK = """[bold]Example[/bold]

  vt checkpoint unpack data/study/grpo.delta --base data/study/base --out runs/grpo
"""


@app.command(epilog=_PACK)
def pack(
    checkpoint: Annotated[Path, typer.Argument(metavar="DIR", help="The trained checkpoint: full weights, no adapter.")],
    base: Base,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The file to write.")],
    exact: Annotated[bool, typer.Option("--exact", help="Keep float32 as it is; 16 bits more per weight.")] = False,
) -> None:
    """Write what training has changed, without loss in [bold]bfloat16[/bold]: 2 to 5 bits per weight after 200 steps of RL.

    Weights in float32, as vt train saves them, are rounded to bfloat16, which is what a diagnosis on a GPU computes with. A
    diagnosis on a CPU computes in float32, and some checkpoints answer otherwise once they are rounded: see --exact.
    """
    from videothinker.models.delta import pack

    made = pack(base, checkpoint, out, exact=exact)
    if made.rounded:
        console.print("the weights were rounded to bfloat16")
    console.print(
        f"{escape(str(out))}: {made.n_bytes:,} bytes, {8 * made.n_bytes / made.n_weights:.2f} bits per weight; "
        f"{made.n_moved:,} of {made.n_weights:,} weights moved",
        soft_wrap=True,
    )


@app.command(epilog=_UNPACK)
def unpack(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File that vt checkpoint pack wrote.")],
    base: Base,
    out: Annotated[Path, typer.Option(metavar="DIR", help="The checkpoint folder to write.")],
) -> None:
    """Rebuild the whole checkpoint and verify its weights by their hash."""
    from videothinker.models.delta import unpack

    sha256 = unpack(base, file, out)
    console.print(f"{escape(str(out))}: weights {sha256[:12]}, as they were packed", soft_wrap=True)


_BLEND = """[bold]Example[/bold]

Half of what GRPO has changed:

  vt checkpoint blend runs/base runs/grpo --weight 0.5 --out runs/half
"""


@app.command(epilog=_BLEND)
def blend(
    first: Annotated[str, typer.Argument(metavar="A", help="A checkpoint: a folder or a hub id, full weights, no adapter.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another one of the same architecture and tokenizer.")],
    weight: Annotated[float, typer.Option(min=0, max=1, metavar="W", help="Share of B: 0 gives A's weights, and 1 B's.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The checkpoint folder to write.")],
) -> None:
    """Write the checkpoint whose weights lie [bold]between[/bold] those of two others: (1 - W) A + W B, computed in float32.

    Configuration, tokenizer and processor are A's. blend.json says which two they were, by their fingerprints.
    """
    from videothinker.models.blend import blend

    made = blend(first, second, weight, out)
    sum_ = f"{1 - weight:g} {escape(first)} + {weight:g} {escape(second)}"
    console.print(
        f"{escape(str(out))}: {sum_}, {made.n_weights:,} weights in float32, {made.n_apart:,} of which differ", soft_wrap=True
    )


_PUSH = """[bold]Examples[/bold]

  vt checkpoint push runs/cdpo me/cdpo-3b --results runs/diagnosis

  vt checkpoint push runs/lora me/cdpo-3b --as merged --private

[bold]What is uploaded[/bold]

  weights, tokenizer and processor, run.json, gate.json, metrics.jsonl, and a card, README.md; no question and no reply.
  run.json names the folders and the command of the training.
"""


@app.command(epilog=_PUSH)
def push(
    checkpoint: Annotated[Path, typer.Argument(metavar="DIR", help="What vt train wrote.")],
    repo_id: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="The repository; one that is not there is made.")],
    form: Annotated[
        str | None,
        typer.Option(
            "--as",
            metavar="adapter|merged|delta",
            help="adapter: the LoRA adapter alone; merged: weights that stand alone; delta: as vt checkpoint pack writes. "
            "Default: what lies there.",
            show_default=False,
        ),
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="A diagnosis of this checkpoint, whose table the card gets.", show_default=False),
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    json: options.Json = False,
) -> None:
    """Upload a trained checkpoint to the hub, with a [bold]card[/bold]: what it is, what it came from, and how it answered."""
    from videothinker.errors import VtError
    from videothinker.recipes import pushing

    output.choose(json)
    if form is not None and form not in list(pushing.Form):
        raise VtError(f"--as {form}: expected one of {', '.join(pushing.Form)}")
    hub = pushing.hub_for(repo_id)
    wanted = None if form is None else pushing.Form(form)
    pushed = pushing.push(checkpoint, repo_id, hub, form=wanted, results=results, private=private, warn=warn)
    say_pushed(pushed)
    output.show(pushed._asdict())
