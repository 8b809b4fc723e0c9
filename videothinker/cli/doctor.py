"""`vt doctor`."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from videothinker.cli import options, output
from videothinker.cli.console import out as console
from videothinker.cli.console import warn
from videothinker.errors import VtError

if TYPE_CHECKING:
    from videothinker.diagnose.vllm_check import Compared
    from videothinker.recipes.doctor import Environment

EPILOG = """[bold]Examples[/bold]

What is installed here, and which extras work:

  vt doctor

Whether vLLM, in an environment of its own, writes what our engine writes:

  vt doctor --engine vllm --model Qwen/Qwen2.5-VL-3B-Instruct --engine-python ~/vllm/bin/python
"""


def doctor(
    engine: Annotated[
        str | None, typer.Option(metavar="NAME", help="Also compare this engine's replies with our own engine's: vllm.")
    ] = None,
    model: Annotated[str | None, typer.Option(metavar="REF", help="For --engine: a checkpoint folder or hub id.")] = None,
    engine_python: options.EnginePython = None,
    dtype: options.Dtype = "auto",
    json: options.Json = False,
) -> None:
    """What this environment has and which extras of the package work; with --engine vllm, whether vLLM writes what we write.

    vLLM and our engine each write a greedy reply to a short and a long clip that are made here, under the original
    text positions. Exit code 1 where the replies differ by more than rounding.
    """
    from videothinker.diagnose import vllm_child
    from videothinker.recipes import doctor

    output.choose(json)
    if engine not in (None, "vllm"):
        raise VtError(f"--engine {engine}: expected vllm, the only engine that is not our own")
    if (engine is None) != (model is None):
        raise VtError("--engine and --model go together: which checkpoint is to be compared in which engine?")
    if engine_python is not None:
        vllm_child.use(engine_python)
    found = doctor.environment()
    _show(found)
    compared = doctor.compare_vllm(model, dtype=dtype, warn=warn) if model is not None else []
    if compared:
        _show_compared(compared)
    output.show({"environment": _record(found), "compared": [{**each._asdict(), "agree": each.agree} for each in compared]})
    if not all(each.agree for each in compared) or (model is not None and not compared):
        raise typer.Exit(1)


def _record(found: "Environment") -> dict[str, object]:
    return {
        "found": [each._asdict() for each in found.found],
        "extras": [{**each._asdict(), "works": each.works} for each in found.extras],
    }


def _show(found: "Environment") -> None:
    table = Table("what", "version", "", box=None, pad_edge=False)
    for each in found.found:
        table.add_row(each.name, each.version or "-", each.note)
    for extra in found.extras:
        table.add_row(f"extra {extra.name}", "works" if extra.works else "-", "" if extra.works else ", ".join(extra.missing))
    console.print(table)


def _show_compared(compared: "list[Compared]") -> None:
    table = Table(
        *("clip", "prompt, ours", "vLLM's", "tokens alike", "largest difference", "allowed", ""), box=None, pad_edge=False
    )
    for each in compared:
        table.add_row(
            each.clip,
            *(f"{n:,}" for n in each.prompt_tokens),
            f"{each.n_same} of {each.n_tokens}",
            f"{each.largest:.2g} nats",
            f"{each.tolerance:g}",
            "agree" if each.agree else "differ",
        )
    console.print(table)
