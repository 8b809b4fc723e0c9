"""What stands for a rendered figure in tests that ask for its numbers: bytes that differ wherever what is drawn does."""

import hashlib
from typing import Any

from matplotlib.collections import Collection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text


def sketch(figure: Figure, kind: str, **_: Any) -> bytes:
    """In place of `reports.drawing._save`: of every word, line and bar a hash, in an SVG or behind the kind's name."""
    told = hashlib.sha256(repr([held(artist) for artist in figure.findobj()]).encode()).hexdigest()
    svg = f'<svg xmlns="http://www.w3.org/2000/svg"><desc>{told}</desc></svg>'
    return (svg if kind == "svg" else f"{kind} {told}").encode()


def held(artist: Any) -> list[Any]:
    """What an artist shows, and where: as it was given, since nothing is laid out."""
    if isinstance(artist, Text):
        return [artist.get_text(), artist.get_unitless_position(), artist.get_color()]
    if isinstance(artist, Line2D):
        return [artist.get_xydata().tolist(), artist.get_color()]
    if isinstance(artist, Patch):
        return [artist.get_path().vertices.tolist(), artist.get_patch_transform().get_matrix().tolist(), artist.get_facecolor()]
    if isinstance(artist, Collection):
        paths = [path.vertices.tolist() for path in artist.get_paths()]
        return [artist.get_offsets().tolist(), paths, artist.get_facecolor().tolist()]
    return [type(artist).__name__]
