"""Generated worlds, curated and filmed, for the benchmarks that ask about clips."""

from pathlib import Path

from videothinker.curate.datasets.clevrer import settings as clevrer
from videothinker.curated import Curated, open_curated
from videothinker.pool import n_cores
from videothinker.recipes.curation import curate_clevrer
from videothinker.world.make import WorldSettings, make_world

SPLIT = "asked"


def made_world(folder: Path, n_scenes: int, *, seed: int = 1, preset: str = "clevrer74") -> Curated:
    """A curated folder of generated scenes, split "asked": about two questions per clip of 480 x 320, as CLEVRER has."""
    world, curated = folder / "world", folder / "curated"
    make_world(world, WorldSettings(n_scenes=n_scenes, seed=seed, preset=preset), workers=min(n_scenes, n_cores()))
    files = (world / "annotation_train", world / "train.json", curated)
    curate_clevrer(*files, clevrer.Settings(split=SPLIT), videos=world / "video_train", workers=1)
    return open_curated(curated)
