"""Options of the commands that ask checkpoints: `vt diagnose`, and what other commands share with it.

An alias is one option: its type, its words and its place in --help. Its default stands where the command is.
"""

from pathlib import Path
from typing import Annotated

import typer

from videothinker import prompts
from videothinker.cli.diagnosis_display import list_presets, list_protocols
from videothinker.diagnose.engines import ENGINES
from videothinker.diagnose.protocols import PROTOCOLS
from videothinker.diagnose.views import OF_CLIPS
from videothinker.models.text_positions import TextPositions

ASKING = "How the checkpoints are asked"
MACHINES = "On several machines"

Labels = Annotated[
    list[str] | None,
    typer.Option(
        "--labels",
        metavar="[NAME=]FILE",
        help="Also break down by labels from elsewhere, such as a probe's; the first file's categories come first. Repeatable.",
    ),
]
Data = Annotated[
    list[str], typer.Option(metavar="[NAME=]DIR", help="Folder that vt curate wrote. Repeat for several, in one table.")
]
RunDir = Annotated[Path, typer.Option(metavar="DIR", help="Run folder; the same one with the same settings is resumed.")]
Models = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[NAME=]REF",
        help="A checkpoint folder, a hub id, or solver:observer, gold, prior, random, none. Repeat for several.",
    ),
]
PresetName = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="A published checkpoint and how to ask it; with --model, how to ask that one."),
]
ListPresets = Annotated[
    bool, typer.Option("--list-presets", callback=list_presets, is_eager=True, help="Show the presets and end.")
]
Videos = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[NAME=]DIR", help="Where the clips are, of all data sets or of one, if not where curation found them."
    ),
]
Splits = Annotated[
    list[str] | None,
    typer.Option(metavar="[NAME=]SPLIT", help="Split to ask, of all data sets or of one; default dev, else the only one."),
]
Limit = Annotated[int | None, typer.Option(metavar="N", help="Ask N questions of each data set only, of every kind its share.")]
Resume = Annotated[bool, typer.Option("--resume/--no-resume", help="Go on where a run stopped, or ask everything anew.")]
Protocol = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Whose way of asking and reading: " + ", ".join(PROTOCOLS) + ". Options given beside it win.",
        rich_help_panel=ASKING,
    ),
]
ListProtocols = Annotated[
    bool,
    typer.Option(
        "--list-protocols",
        help="Say what every protocol is and what it does wrong, and stop.",
        is_eager=True,
        callback=list_protocols,
        rich_help_panel=ASKING,
    ),
]
Prompt = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|FILE",
        help=f"{', '.join(prompts.NAMES)}, protocol (its own words), or a template's file; default what a checkpoint was "
        "trained with, else the protocol's or preset's, else cot.",
        rich_help_panel=ASKING,
    ),
]
ShowPrompt = Annotated[
    bool,
    typer.Option(
        "--show-prompt",
        help="Print the first question as each model would get it, and end; nothing is loaded or written.",
        rich_help_panel=ASKING,
    ),
]
Frames = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Frames a clip; default the protocol's, else the checkpoint's own, else 32. 0: not the protocol's.",
        rich_help_panel=ASKING,
    ),
]
MaxPixels = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Pixels a frame; default the protocol's, else the checkpoint's own, else 200704. 0: not the protocol's.",
        rich_help_panel=ASKING,
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Questions at once, halved when memory runs out; default 32, with graphs what memory allows.",
        rich_help_panel=ASKING,
    ),
]
Engine = Annotated[
    str,
    typer.Option(
        help="What writes replies. " + "; ".join(f"{name}: {what}" for name, what in ENGINES.items()) + ".",
        rich_help_panel=ASKING,
    ),
]
EnginePython = Annotated[
    Path | None,
    typer.Option(
        envvar="VT_VLLM_PYTHON",
        metavar="FILE",
        help="For --engine vllm: the Python of an environment that has vLLM, if it is not here.",
        rich_help_panel=ASKING,
    ),
]
Temperature = Annotated[
    float | None, typer.Option(help="0, the default, decodes greedily; more than 0 samples.", rich_help_panel=ASKING)
]
TopP = Annotated[
    float | None,
    typer.Option(
        metavar="P", help="Sample among the likeliest tokens alone, which sum to P; default 1.", rich_help_panel=ASKING
    ),
]
MaxNewTokens = Annotated[
    int | None,
    typer.Option(metavar="N", help="Length of the longest reply, in tokens; default 1024.", rich_help_panel=ASKING),
]
StopAt = Annotated[
    str | None,
    typer.Option(
        metavar="CONFIDENCE|FILE",
        help="In the style twice (--prompt, or how a checkpoint was trained): end a reply behind its first answer where the "
        "model is at least so sure of it, 0 to 1; or the best confidence of a file that vt report --stop-sweep wrote; "
        "default never.",
        rich_help_panel=ASKING,
    ),
]
Seed = Annotated[int, typer.Option(help="Seed of sampling and of solver:random.", rich_help_panel=ASKING)]
Positions = Annotated[
    TextPositions | None,
    typer.Option(
        help="Where the text behind a clip goes on: behind its time (original), or as transformers 5.3 and later have it; "
        "default the rule that the checkpoint was trained with.",
        rich_help_panel=ASKING,
    ),
]
Revision = Annotated[
    str | None,
    typer.Option(metavar="REV", help="Commit, tag or branch of a checkpoint on the hub.", rich_help_panel=ASKING),
]
Dtype = Annotated[str, typer.Option(help="Type of the weights: auto, bfloat16, float16 or float32.", rich_help_panel=ASKING)]
Attention = Annotated[
    str, typer.Option(help="Attention to use: auto, flash_attention_2, sdpa or eager.", rich_help_panel=ASKING)
]
Decoder = Annotated[str, typer.Option(help="What reads the clips: auto, decord, torchcodec or pyav.", rich_help_panel=ASKING)]
ClipCache = Annotated[
    bool,
    typer.Option(
        "--clip-cache/--no-clip-cache",
        help="Keep decoded frames for the next checkpoint, as vt clips warm does.",
        rich_help_panel=ASKING,
    ),
]
TrustRemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run Python that comes with a checkpoint.", rich_help_panel=ASKING)
]
Baseline = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="With several data sets: the checkpoint that changes count from; default the first."),
]
Views = Annotated[
    str | None,
    typer.Option(
        metavar="LIST",
        help=f"Ask again with damaged clips, some of {','.join(OF_CLIPS)}, and say what each one changes.",
        rich_help_panel=ASKING,
    ),
]
ShardOf = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="Do share I of N alone, such as 3/16, on a machine of its own; vt merge puts finished ones together.",
        rich_help_panel=MACHINES,
    ),
]
PrintSbatch = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=1, help="Print this command as a Slurm array job of N shards, and end.", rich_help_panel=MACHINES
    ),
]
DrawReport = Annotated[
    bool, typer.Option("--report/--no-report", help="Draw report.html, or leave that to vt report or vt study.")
]
Endpoints = Annotated[
    list[str] | None,
    typer.Option(
        "--endpoint",
        metavar="URL",
        help="Ask an OpenAI-compatible server; REF is the name it serves. Repeat for several that serve the same: each clip's "
        "questions go to one of them.",
        rich_help_panel=ASKING,
    ),
]
Send = Annotated[
    str,
    typer.Option(
        metavar="clip|images",
        help="How a server is sent the frames that --frames chooses: as one lossless clip with their times, or as images.",
        rich_help_panel=ASKING,
    ),
]
PushToHub = Annotated[
    str | None,
    typer.Option(
        "--push-to-hub",
        metavar="OWNER/NAME",
        help="Upload what was trained at the end, as vt checkpoint push does; name and token are checked before.",
    ),
]
Json = Annotated[
    bool,
    typer.Option("--json", help="Print the figures as one JSON document on standard output; all else goes to standard error."),
]
