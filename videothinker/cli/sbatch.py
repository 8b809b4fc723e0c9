"""A sharded command as a Slurm array job, as text: vt knows of no scheduler, and this file is the user's to edit."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from videothinker.errors import VtError
from videothinker.shards import OPTION, without

_PRINT = "--print-sbatch"


def print_array_job(n: int, *, shard: str | None, merged: Path | None, n_gpus: int) -> None:
    """Print the command that runs now, on `n` shards, and after them the merging of `merged`, if anything is to be merged.

    n_gpus: of each shard.

    Raises:
        VtError: the command is one shard's already.
    """
    if shard is not None:
        raise VtError(f"{_PRINT} {n} with {OPTION} {shard}: the array job runs all shards; leave {OPTION} out")
    typer.echo(array_job(without(sys.argv[1:], _PRINT), n, merged=merged, n_gpus=n_gpus))


def array_job(arguments: Sequence[str], n: int, *, merged: Path | None, n_gpus: int) -> str:
    """The script for `vt ARGUMENTS` on `n` shards, for this folder and this Python; arguments as for `print_array_job`."""
    vt = shlex.join([sys.executable, "-m", "videothinker"])
    name = f"vt-{arguments[0]}"
    command = f'{vt} {shlex.join(arguments)} {OPTION} "$SLURM_ARRAY_TASK_ID/{n}"'
    merge = None if merged is None else f"{vt} {shlex.join(['merge', str(merged)])}"
    return "\n".join(
        [
            "#!/bin/bash",
            *_how_to(merge),
            f"#SBATCH --job-name={name}",
            f"#SBATCH --array=1-{n}",
            "#SBATCH --ntasks=1",
            "#SBATCH --cpus-per-task=8",
            "#SBATCH --mem=64G",
            *([f"#SBATCH --gres=gpu:{n_gpus}"] if n_gpus else []),
            "#SBATCH --time=08:00:00",
            "#SBATCH --requeue",
            f"#SBATCH --output={name}-%A_%a.log",
            "#SBATCH --open-mode=append",
            "##SBATCH --partition=... --account=...",
            "set -euo pipefail",
            *([] if merge is None else _submitting(n_gpus)),
            "",
            "# What a job needs before it can start, such as `module load`, HF_HOME or VIDEOTHINKER_CACHE, goes here.",
            f"cd {shlex.quote(str(Path.cwd()))}",
            "",
            *([] if merge is None else ['if [ "${1:-}" = merge ]; then', f"    exec {merge}", "fi"]),
            f"exec {command}",
        ]
    )


def _how_to(merge: str | None) -> list[str]:
    told = [
        "# A shard that was killed goes on where it stopped when it runs again; one that is finished asks nothing again.",
        "# Edit the lines below to what your cluster wants: GPUs, memory, time, partition, account.",
        "#",
    ]
    if merge is None:
        return [*told, "#   sbatch FILE                 all shards", "#   sbatch --array=3,7 FILE     some of them again"]
    return [
        *told,
        "#   bash FILE                   submits all shards and, behind them, the job that merges them",
        "#   sbatch --array=3,7 FILE     some of them again; then, by hand:",
        f"#   {merge}",
    ]


def _submitting(n_gpus: int) -> list[str]:
    """Lines that submit the script, where it is started by hand. The merge starts whatever becomes of the shards: if one is
    missing, it says which and how to run it."""
    return [
        "",
        'if [ -z "${SLURM_ARRAY_TASK_ID:-}" ]; then',
        '    id=$(sbatch --parsable "$0")',
        f'    exec sbatch --dependency="afterany:${{id%%;*}}" --array=1{" --gres=none" if n_gpus else ""} "$0" merge',
        "fi",
    ]
