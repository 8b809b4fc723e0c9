"""A question set of clips, an image and words alone, curated from a file in Video-R1's form."""

import json
from pathlib import Path

import numpy as np
from PIL import Image
from train.trainers import write_clip
from vt_command import vt

from videothinker.curated import Curated, open_curated


def write_image(path: Path, height: int = 56, width: int = 84) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def write_set(folder: Path) -> Curated:
    """Two questions about clips, one about an image and one of words alone, curated from a file in Video-R1's form."""
    videos = folder / "videos"
    write_clip(videos / "a.mp4", 56, 84, 10)
    write_clip(videos / "b.mp4", 56, 84, 90)
    write_image(videos / "c.png")
    common = {"problem": "How many?", "problem_type": "numerical", "solution": "7"}
    found = [
        {**common, "problem_id": 1, "data_type": "video", "path": "a.mp4"},
        {
            **common,
            "problem_id": 2,
            "data_type": "video",
            "path": "b.mp4",
            "problem_type": "temporal grounding",
            "solution": "0 to 1",
        },
        {**common, "problem_id": 3, "data_type": "image", "path": "c.png"},
        {**common, "problem_id": 4, "data_type": "text"},
    ]
    (folder / "set.json").write_text(json.dumps(found))
    out = folder / "curated"
    assert vt("curate", "records", "--from", folder / "set.json", "--videos", videos, "--out", out, "--split", "train") == 0
    assert vt("curate", "check", out) == 0
    return open_curated(out)
