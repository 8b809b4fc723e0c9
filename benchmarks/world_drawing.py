"""The sections of benchmarks/world.py that draw: clips, what compression changes, frames for training, a contact sheet."""

import io
import itertools
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from videothinker.records import SceneObject
from videothinker.world import draw
from videothinker.world.simulate import Rollout, simulate
from videothinker.world.table import COLORS, HALF_SIZE, MATERIALS, N_FRAMES, SHAPES

console = Console()
Result = dict[str, Any]


def clips(n_scenes: int, seed: int) -> Result:
    """Clips per second on one core, drawn and encoded, and by two processes at once."""
    rollouts = [simulate(seed, index).factual for index in range(n_scenes)]
    _film(rollouts[0], n_frames=1)  # first calls load libraries
    seconds = {"draw": [], "film": []}
    sizes = []
    for rollout in rollouts:
        start = time.process_time()
        for _ in draw.stream([rollout]):
            pass
        seconds["draw"].append(time.process_time() - start)
        start = time.process_time()
        sizes.append(_film(rollout))
        seconds["film"].append(time.process_time() - start)
    ms = {name: float(np.median(spent)) * 1e3 for name, spent in seconds.items()}
    table = Table("", "ms per clip (median)", title=f"480x320, 128 frames, {n_scenes} scenes, CPU time")
    table.add_row("draw", f"{ms['draw']:.0f}")
    table.add_row("encode", f"{ms['film'] - ms['draw']:.0f}")
    table.add_row("both", f"{ms['film']:.0f}")
    console.print(table)
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(partial(_film, n_frames=1), 2 * rollouts[:1]))
        start = time.perf_counter()
        n_clips = len(list(pool.map(_film, 3 * rollouts)))
        together = n_clips / (time.perf_counter() - start)
    console.print(
        f"{1e3 / ms['film']:.1f} clips per second and core by CPU time; two processes make {together:.1f} per second by the "
        f"clock; a clip has {np.mean(sizes) / 1e3:.0f} kB on average"
    )
    return {
        "ms_per_clip": ms,
        "clips_per_second_and_core": 1e3 / ms["film"],
        "clips_per_second_of_two_processes": together,
        "kilobytes_per_clip": float(np.mean(sizes)) / 1e3,
    }


def _film(rollout: Rollout, n_frames: int = N_FRAMES) -> int:
    """The size in bytes of the film of a roll-out's first frames."""
    from videothinker.world import film

    return len(film.encode(draw.stream([rollout], indices=range(n_frames)), 480, 320))


def compression(n_scenes: int, seed: int) -> Result:
    """How what is drawn differs from what a decoder gives back, over 8 frames of each clip."""
    import av

    from videothinker.world import film

    chosen = list(range(0, N_FRAMES, 16))
    rollouts = [simulate(seed, index).factual for index in range(n_scenes)]
    drawn = [draw.frames([rollout])[0] for rollout in rollouts]  # 59 MB each
    little = [draw.frames([rollout], width=84, height=56, indices=chosen)[0].astype(float) for rollout in rollouts]
    table = Table(
        "crf", "kB per clip", "480x320", "at 84x56", "drawn small", title=f"mean difference, 0-255 (PSNR), {n_scenes} clips"
    )
    rows = {}
    for crf in (18, film.CRF, 28):
        full, small, native, kilobytes = [], [], [], []
        for pictures, little_ones in zip(drawn, little, strict=True):
            data = film.encode([pictures], 480, 320, crf=crf)
            with av.open(io.BytesIO(data)) as container:
                shown = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])[chosen]
            decoded, before = np.moveaxis(shown, -1, 1).astype(float), pictures[chosen].astype(float)
            full.append(decoded - before)
            small.append(shrink(decoded) - shrink(before))
            native.append(shrink(decoded) - little_ones)
            kilobytes.append(len(data) / 1e3)
        cells = [difference(np.stack(part)) for part in (full, small, native)]
        table.add_row(str(crf), f"{np.mean(kilobytes):.0f}", *(f"{mean:.2f} ({psnr:.1f} dB)" for mean, psnr in cells))
        names = ("480x320", "84x56", "84x56 drawn small")
        rows[str(crf)] = {"kilobytes": float(np.mean(kilobytes)), **dict(zip(names, cells, strict=True))}
    console.print(table)
    return rows


def shrink(pictures: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 3, 320, 480) to (n, 3, 56, 84): the mean over each new pixel's area, what resizers call "area" or "box"."""
    from PIL import Image

    planes = pictures.reshape(-1, 320, 480).astype(np.float32)
    small = [np.asarray(Image.fromarray(plane).resize((84, 56), Image.Resampling.BOX)) for plane in planes]
    return np.stack(small).reshape(-1, 3, 56, 84).astype(np.float64)


def difference(errors: NDArray[np.float64]) -> tuple[float, float]:
    """Mean absolute difference and peak signal-to-noise ratio in dB."""
    return float(abs(errors).mean()), float(10 * np.log10(255**2 / (errors**2).mean()))


def frames(device: str | None, most_scenes: int, seed: int) -> Result:
    """Frames per second in batches of 16 frames of each scene, and the share of the time that numpy takes on the host."""
    simulated = [simulate(seed, index).factual for index in range(min(32, most_scenes))]
    batches = (16,) if device is None or device == "cpu" else (64, 512)
    table = Table(
        "size", "scenes", "frames/s", "host's part", "differs from numpy", title=f"16 frames of each scene, {device or 'numpy'}"
    )
    rows = {}
    indices = np.arange(4, 128, 8)
    batches = tuple(dict.fromkeys(min(n, most_scenes) for n in batches))
    sizes = itertools.product(((84, 56), (126, 84), (480, 320)), batches)
    for (width, height), n_scenes in ((size, n) for size, n in sizes if size[0] < 480 or n <= 64):
        rollouts = list(itertools.islice(itertools.cycle(simulated), n_scenes))
        batch = partial(draw.frames, rollouts, width=width, height=height, indices=indices, device=device)
        spent = timed(batch, device)
        host = timed(partial(draw._Stage.set_up, rollouts, np.tile(indices, (n_scenes, 1)), width, height), None)
        drawn = batch()[:4]
        drawn = drawn if device is None else drawn.cpu().numpy()
        numpys = draw.frames(rollouts[:4], width=width, height=height, indices=indices)
        apart = float((np.abs(drawn.astype(int) - numpys) > 1).mean())  # by more than rounding
        speed = n_scenes * len(indices) / spent
        table.add_row(f"{width}x{height}", str(n_scenes), f"{speed:,.0f}", f"{host / spent:.0%}", f"{apart:.1e}")
        rows[f"{width}x{height}x{n_scenes}"] = {"frames_per_second": speed, "host_share": host / spent, "differs": apart}
    console.print(table)
    return rows


def timed(call: Callable[[], Any], device: str | None) -> float:
    """Median seconds of seven calls, after two that warm up."""
    if device is not None and device.startswith("cuda"):
        import torch

        wait: Callable[[], None] = torch.cuda.synchronize
    else:

        def wait() -> None:
            return None

    spent = []
    for _ in range(9):
        wait()
        start = time.perf_counter()
        call()
        wait()
        spent.append(time.perf_counter() - start)
    return float(np.median(spent[2:]))


def sheet(seed: int) -> Any:
    """A picture of the world: four moments of a clip, below them all 48 kinds of objects, and these at 84x56, enlarged."""
    from PIL import Image

    rng = np.random.default_rng(seed)
    clip = draw.frames([simulate(seed, 3).factual], width=240, height=160, indices=[20, 50, 80, 120])[0]
    groups = [rollout_of_color(color, rng) for color in COLORS]
    kinds = draw.frames(groups, width=240, height=160, indices=[0])[:, 0]
    tiny = draw.frames(groups, width=84, height=56, indices=[0])[:, 0]
    enlarged = [Image.fromarray(np.moveaxis(t, 0, -1)).resize((240, 160), Image.Resampling.NEAREST) for t in tiny]
    tiny = np.moveaxis(np.stack(enlarged), -1, 1)
    tiles = np.concatenate([clip, kinds, tiny])
    image = tiles.reshape(5, 4, 3, 160, 240).transpose(0, 3, 1, 4, 2).reshape(5 * 160, 4 * 240, 3)
    return Image.fromarray(image)


def rollout_of_color(color: str, rng: np.random.Generator) -> Rollout:
    """One frame with the six kinds of a colour: metal behind, rubber in front."""
    looks = list(itertools.product(MATERIALS, SHAPES))
    objects = tuple(SceneObject(i, color, material, shape) for i, (material, shape) in enumerate(looks))
    spots = [(x, y, HALF_SIZE) for x in (-0.9, 0.7) for y in (-1.1, 0.0, 1.1)]
    location = np.array([spots], dtype=np.float32) + np.r_[rng.uniform(-0.2, 0.2, 2), 0].astype(np.float32)
    still = np.zeros_like(location)
    return Rollout(objects, location, rng.uniform(0, 1.6, (1, 6)).astype(np.float32), still, still, ())
