"""What CLEVRER's annotations say about a clip, as far as labels and pages need it."""

import msgspec

FILE = "scenes.jsonl"
"""One `Scene` per line, for every scene with a labelled question."""
FPS = 25.0
"""Frames per second of CLEVRER's clips: frame f of a log is shown f / FPS seconds from the beginning."""


class SceneObject(msgspec.Struct, frozen=True):
    """One object of a scene. A (color, material, shape) triple is unique within its scene."""

    object_id: int
    """0-based, unique in the scene; the ids that collisions and labels name."""
    color: str
    """One of gray brown green red blue purple yellow cyan."""
    material: str
    """metal (shiny) or rubber (matte)."""
    shape: str
    """cube, cylinder or sphere."""


class Collision(msgspec.Struct, frozen=True, omit_defaults=True):
    """One contact of the factual video's collision log."""

    frame: int
    """Frame of the contact in the 128-frame clip, 0-based."""
    object_ids: tuple[int, int]
    """The two objects, smaller id first."""
    seen: bool = True
    """Does the film show it (`observers.log.is_seen`)? Files say so only where it does not; those of earlier versions never."""


class Scene(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the annotation says of the factual video: objects and collision log, without trajectories."""

    scene_index: int
    video: str
    """Clip's file name as the annotation gives it, e.g. "video_00000.mp4"."""
    objects: tuple[SceneObject, ...]
    collisions: tuple[Collision, ...]
    """In file order, which is by frame."""
    is_view_known: bool = True
    """False if the annotation does not say of some collision whether its objects are in view; such a one counts as seen."""
