"""The README's example: a film of the sample world, and the film without one object that nobody was shown.

    .venv/bin/python docs/img/example.py

Writes example.jpg beside this file: question 4:7 of data/sample, its film above and the counterfactual below, at five times.
"""

import json
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from videothinker.frames import read_clip

HERE = Path(__file__).parent
SAMPLE = HERE.parents[1] / "data" / "sample"
SCENE, REMOVED = 4, "green"
FRAMES = (0, 39, 57, 74, 127)
FPS = 25
SIZE = (276, 184)
GAP, HEAD, BAR = 6, 34, 26
INK, PAPER = (28, 28, 32), (255, 255, 255)


def clip(name: str) -> Path:
    """A clip of the sample's scenes."""
    return SAMPLE / "video_train" / "video_00000-01000" / name


def removed_object() -> int:
    """object_id of the only object of that colour."""
    annotation = next((SAMPLE / "annotation_train").rglob(f"annotation_{SCENE:05}.json"))
    objects = json.loads(annotation.read_text())["object_property"]
    (found,) = (each["object_id"] for each in objects if each["color"] == REMOVED)
    return int(found)


def main() -> None:
    films = {
        "What the film shows": clip(f"video_{SCENE:05}.mp4"),
        "What would have happened without the green sphere, which nobody is shown": clip(
            f"video_{SCENE:05}.without_{removed_object()}.mp4"
        ),
    }
    width, height = SIZE
    row = HEAD + height + BAR
    sheet = Image.new("RGB", (len(FRAMES) * (width + GAP) - GAP, len(films) * row), PAPER)
    draw = ImageDraw.Draw(sheet)
    head, small = ImageFont.load_default(20), ImageFont.load_default(16)
    for line, (words, path) in enumerate(films.items()):
        draw.text((2, line * row + 4), words, INK, head)
        for column, picture in enumerate(read_clip(path, indices=FRAMES).frames):
            left, top = column * (width + GAP), line * row + HEAD
            sheet.paste(Image.fromarray(picture).resize(SIZE, Image.Resampling.LANCZOS), (left, top))
            draw.text((left + 2, top + height + 2), f"{FRAMES[column] / FPS:.1f} s", INK, small)
    sheet.save(HERE / "example.jpg", quality=88, optimize=True)


if __name__ == "__main__":
    main()
