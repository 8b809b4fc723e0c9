"""The packs of `vt study`: where they go, how often, and in what precision weights travel."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rich.markup import escape

from videothinker.cli.console import out as console
from videothinker.cli.console import warn
from videothinker.errors import VtError

if TYPE_CHECKING:
    from videothinker.records.study import Study
    from videothinker.study.plan import Cell


class Packing(NamedTuple):
    """What `--pack` and the options beside it say."""

    folder: Path
    n_files: int | None
    """How many files a pack may have; None for as many as it takes."""
    rounded: bool
    """Whether weights are rounded to bfloat16."""
    every: float | None
    """Minutes between packs while the study runs; None for one at its end alone."""


def packing_of(folder: Path | None, *, n_files: int | None, rounded: bool, every: float | None) -> Packing | None:
    """What the options say; None without `--pack`.

    Raises:
        VtError: an option says how to pack, and none says where; or the place is a file.
    """
    if folder is not None:
        if folder.exists() and not folder.is_dir():
            raise VtError(f"--pack {folder}: is a file, expected a folder for the files of the pack; name another one")
        return Packing(folder, n_files, rounded, every)
    given = {"--pack-files": n_files is not None, "--pack-rounded": rounded, "--pack-every": every is not None}
    for option in (option for option, is_given in given.items() if is_given):
        raise VtError(f"{option}: is about a pack; say with --pack DIR where it goes")
    return None


def pack_study(study: "Study", plan: "Sequence[Cell]", out: Path, packing: Packing | None) -> None:
    """Pack the study in `out`, if that is wanted, and say what did not fit."""
    from videothinker.study.pack import pack

    if packing is None:
        return
    packed = pack(study, plan, out, packing.folder, shrink, n_parts=packing.n_files, rounded=packing.rounded)
    console.print(
        f"packed: {len(packed.files)} files, {packed.n_bytes / 2**20:.1f} MiB, in {escape(str(packing.folder))}", soft_wrap=True
    )
    if packed.not_exact:
        names = ", ".join(packed.not_exact)
        warn(
            f"the weights of {len(packed.not_exact)} trainings came here rounded to bfloat16, and travel so: {names}; to have"
            " them as they were trained, unpack a pack that was made without --pack-rounded where they were"
        )
    if packed.left_out:
        smaller = "" if packing.rounded else "; --pack-rounded makes weights smaller"
        names = ", ".join(packed.left_out)
        warn(f"no room for the files of {len(packed.left_out)} cells, which stay here{smaller}: {names}")


def packed_meanwhile(
    study: "Study", plan: "Sequence[Cell]", out: Path, packing: Packing | None
) -> AbstractContextManager[None]:
    """Have the study packed every so often while it runs, if wanted. A pack that fails is told of, and the next tried."""
    from videothinker.study.pack import every

    if packing is None or packing.every is None:
        return nullcontext()

    def attempt() -> None:
        try:
            pack_study(study, plan, out, packing)
        except (VtError, OSError) as error:
            warn(f"{error}; the study goes on without this pack")

    return every(60 * packing.every, attempt)


def shrink(base: Path, checkpoint: Path, file: Path, *, exact: bool) -> None:
    """Write what training has changed, with `exact` float32 as it is; nothing where that cannot be told, as of a training that
    diverged, or of an adapter."""
    from videothinker.models import delta

    try:
        delta.pack(base, checkpoint, file, exact=exact)
    except VtError as error:  # no reason to leave all else here, on a machine that may be taken away
        warn(f"{error}; these weights stay here, and the rest is packed")


def grow(base: Path, file: Path, checkpoint: Path) -> bool:
    """Make the checkpoint of which `file` says what training has changed. Returns whether it says so exactly."""
    from videothinker.models import delta

    delta.unpack(base, file, checkpoint)
    return delta.is_exact(file)
