"""Write a world to disk in CLEVRER's layout and formats, so that whatever reads CLEVRER reads it.

    OUT/annotation_train/annotation_00000-01000/annotation_00000.json    as in the release
    OUT/video_train/video_00000-01000/video_00000.mp4                     the clip; with --only-asked only if it is asked about
    OUT/video_train/video_00000-01000/video_00000.without_2.mp4           what would have happened without object 2
    OUT/train.json                                                        all questions, as in the release, one scene per line
    OUT/traces.jsonl                                                      the truth behind each counterfactual question
    OUT/world.json                                                        settings, counts, provenance; written last

The same settings give the same bytes, whatever the number of workers. A killed run goes on where it stopped, because finished
files are kept.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from videothinker import locks, store
from videothinker.curated import counterfactual_name
from videothinker.errors import VtError
from videothinker.pool import map_in_order
from videothinker.progress import Progress, no_progress
from videothinker.records import Category, Collision, Rule, SceneObject
from videothinker.world.ask import DEFAULT_PRESET, categories, preset_named
from videothinker.world.camera import in_view
from videothinker.world.film import write_clip
from videothinker.world.story import pairs
from videothinker.world.stream import StreamScene, make_scene
from videothinker.world.table import N_FRAMES

MANIFEST = "world.json"
_UNFINISHED = ".settings.json"
_DECIMALS = 4
"""Decimals of every number in an annotation: a hundredth of a pixel, in less than half the bytes of full precision."""
_NOT_YET = {"only_asked": False, "film_frames": N_FRAMES}
"""Settings that worlds of an earlier version do not name, as they were then."""


@dataclass(frozen=True)
class WorldSettings:
    """The settings that decide a world's bytes."""

    n_scenes: int
    seed: int
    first_scene: int = 0
    """Index of the first scene. Worlds of one seed whose ranges do not overlap share no scene."""
    preset: str = DEFAULT_PRESET
    videos: bool = True
    width: int = 480
    height: int = 320
    counterfactual_videos: bool = False
    """Also film what would have happened, for every question."""
    only_asked: bool = False
    """Film only the scenes that have a counterfactual question."""
    film_frames: int = N_FRAMES
    """Frames of a film, a divisor of `table.N_FRAMES`: those that a model is shown if it is shown so many."""

    def __post_init__(self) -> None:
        preset_named(self.preset)
        wrong = []
        if self.n_scenes < 1:
            wrong.append(f"--scenes {self.n_scenes}: expected 1 or more")
        if self.first_scene < 0:
            wrong.append(f"--first-scene {self.first_scene}: expected 0 or more")
        if self.width < 16 or self.height < 16 or self.width % 2 or self.height % 2:
            wrong.append(f"--size {self.width}x{self.height}: H.264 clips need even sides of 16 pixels or more, e.g. 480x320")
        if self.counterfactual_videos and not self.videos:
            wrong.append("--counterfactual-videos with --no-videos: drop one of the two")
        if not 1 <= self.film_frames <= N_FRAMES or N_FRAMES % self.film_frames:
            wrong.append(f"--film-frames {self.film_frames}: expected a divisor of {N_FRAMES}, e.g. 16")
        if self.film_frames != N_FRAMES and not self.videos:
            wrong.append("--film-frames with --no-videos: drop one of the two")
        if self.only_asked and not self.videos:
            wrong.append("--only-asked with --no-videos: drop one of the two")
        if wrong:
            raise VtError("; ".join(wrong))


class World(msgspec.Struct, frozen=True, kw_only=True):
    """world.json: what was made. All of it but `provenance` follows from the settings alone."""

    settings: dict[str, Any]
    n_scenes: int
    n_collisions: int
    """Collisions in all factual clips."""
    n_questions: dict[str, int]
    """Number of questions of each type."""
    observational: dict[Rule, int]
    """Number of counterfactual questions that are observational under each rule."""
    n_clips: int
    n_counterfactual_clips: int
    sha256: dict[str, str]
    """Hashes of train.json and traces.jsonl, by name."""
    provenance: dict[str, Any] = {}


class _Done(NamedTuple):
    """What comes back from making one scene: its pieces of train.json and traces.jsonl, and counts."""

    questions: bytes
    traces: bytes
    counts: Counter[str]


def make_world(out: Path, settings: WorldSettings, *, workers: int = 1, progress: Progress = no_progress) -> World:
    """Make, or finish, the world in `out`. `progress` counts scenes.

    Raises:
        VtError: `out` holds a world with other settings or something else, or cannot be written to.
    """
    wanted = asdict(settings)
    finished = _open(out, wanted)
    if finished is not None:
        progress(settings.n_scenes)
        return finished
    store.write_json(out / _UNFINISHED, wanted)
    counts: Counter[str] = Counter()
    questions, traces = [], []
    scenes = range(settings.first_scene, settings.first_scene + settings.n_scenes)
    for done in map_in_order(partial(_make_scene, out=out, settings=settings), scenes, workers):
        questions.append(done.questions)
        traces.append(done.traces)
        counts += done.counts
        progress(1)
    store.write_bytes(out / "train.json", b"[" + b",\n".join(questions) + b"]\n")
    store.write_bytes(out / "traces.jsonl", b"".join(traces))
    world = World(
        settings=wanted,
        n_scenes=settings.n_scenes,
        n_collisions=counts["collisions"],
        n_questions={kind: counts[kind] for kind in ("descriptive", "explanatory", "predictive", "counterfactual")},
        observational={rule: counts[rule] for rule in Rule},
        n_clips=counts["clips"],
        n_counterfactual_clips=counts["counterfactual clips"],
        sha256={name: store.sha256_file(out / name) for name in ("train.json", "traces.jsonl")},
        provenance=store.provenance(),
    )
    store.write_json(out / MANIFEST, world)
    (out / _UNFINISHED).unlink(missing_ok=True)
    locks.release(out)
    return world


def _open(out: Path, wanted: Mapping[str, Any]) -> World | None:
    """The finished world with the same settings in `out`; None if there is work to do, as where files have been deleted."""
    if (out / MANIFEST).is_file():
        _claim(out, MANIFEST, {"settings": wanted}, _with_later_settings)
        world = store.read_json(out / MANIFEST, World)
        return world if _is_whole(out, world) else None
    _claim(out, _UNFINISHED, wanted, lambda held: _NOT_YET | held)
    return None


def _with_later_settings(manifest: dict[str, Any]) -> dict[str, Any]:
    """A manifest with the settings that worlds of earlier versions did not write down."""
    settings = manifest.get("settings")
    return manifest | {"settings": _NOT_YET | settings} if isinstance(settings, dict) else manifest


def _is_whole(out: Path, world: World) -> bool:
    n_clips, n_annotations = (
        sum(1 for _ in out.glob(pattern)) for pattern in ("video_train/*/*.mp4", "annotation_train/*/*.json")
    )
    return (
        n_clips >= world.n_clips + world.n_counterfactual_clips
        and n_annotations >= world.n_scenes
        and all((out / name).is_file() for name in world.sha256)
    )


def _claim(
    out: Path, marker: str, identity: Mapping[str, Any], in_todays_form: Callable[[dict[str, Any]], Mapping[str, Any]]
) -> None:
    advice = "use the same settings, or choose a new or empty folder"
    store.claim(out, marker, identity, what="a world", advice=advice, in_todays_form=in_todays_form)


def _make_scene(scene_index: int, *, out: Path, settings: WorldSettings) -> _Done:
    """Make one scene and write those of its files that are not there yet."""
    scene = make_scene(scene_index, seed=settings.seed, preset=settings.preset)
    counts = _count(scene)
    if settings.videos and (scene.counterfactuals or not settings.only_asked):
        clip = out / "video_train" / _numbered("video", scene_index, "mp4")
        films = {clip: scene.simulation.factual}
        if settings.counterfactual_videos:
            for removed in sorted({question.removed_object for question in scene.counterfactuals}):
                films[clip.with_name(counterfactual_name(clip.name, removed))] = scene.simulation.without[removed]
        for path, rollout in films.items():
            if not path.is_file():
                write_clip(rollout, path, width=settings.width, height=settings.height, n_frames=settings.film_frames)
        counts["clips"] = 1
        counts["counterfactual clips"] = len(films) - 1
    path = out / "annotation_train" / _numbered("annotation", scene_index, "json")
    if not path.is_file():
        store.write_bytes(path, annotation(scene, with_hidden=preset_named(settings.preset).logs_hidden))
    video = _numbered("video", scene_index, "mp4").name
    questions = msgspec.json.encode({"scene_index": scene_index, "video_filename": video, "questions": scene.questions})
    traces = b"".join(msgspec.json.encode(trace) + b"\n" for trace in scene.traces)
    return _Done(questions, traces, counts)


def _numbered(kind: str, scene_index: int, suffix: str) -> Path:
    """video, 1234, mp4 -> video_01000-02000/video_01234.mp4, CLEVRER's layout."""
    start = scene_index // 1000 * 1000
    return Path(f"{kind}_{start:05d}-{start + 1000:05d}") / f"{kind}_{scene_index:05d}.{suffix}"


def _count(scene: StreamScene) -> Counter[str]:
    seen = pairs(scene.simulation.factual.collisions)
    counts = Counter(question.question_type for question in scene.questions)
    counts["collisions"] = len(seen)
    for question in scene.counterfactuals:
        happens = pairs(scene.simulation.without[question.removed_object].collisions)
        found = categories(question, seen, happens)
        counts.update(rule for rule, category in found.items() if category is Category.OBSERVATIONAL)
    return counts


class _State(msgspec.Struct):
    object_id: int
    location: list[float]
    orientation: list[float]
    velocity: list[float]
    angular_velocity: list[float]
    inside_camera_view: bool


class _Frame(msgspec.Struct):
    frame_id: int
    objects: list[_State]


class _Contact(msgspec.Struct):
    object_ids: tuple[int, int]
    frame_id: int
    location: list[float]


class _Annotation(msgspec.Struct):
    scene_index: int
    video_filename: str
    object_property: tuple[SceneObject, ...]
    motion_trajectory: list[_Frame]
    collision: list[_Contact]


def annotation(scene: StreamScene, *, with_hidden: bool = False) -> bytes:
    """The factual clip as CLEVRER's annotation file: JSON with everything but the questions.

    with_hidden: also log the contacts that the film cannot show, in their place by frame.
    """
    rollout = scene.simulation.factual
    logged = rollout.collisions
    if with_hidden:
        logged = tuple(sorted((*logged, *scene.simulation.hidden), key=lambda one: (one.frame, one.object_ids)))

    def numbers(values: Any) -> Any:
        return np.round(np.asarray(values, np.float64), _DECIMALS).tolist()

    turned = np.zeros_like(rollout.location)  # three angles as in the release, though objects turn about z only
    turned[..., 2] = rollout.orientation
    arrays = (rollout.location, turned, rollout.velocity, rollout.angular_velocity)
    columns = [*map(numbers, arrays), in_view(rollout.location).tolist()]
    ids = [thing.object_id for thing in rollout.objects]
    # The outer zip runs over frames; within one, every column has one entry per object, which `map` puts together.
    frames = [_Frame(i, list(map(_State, ids, *state))) for i, state in enumerate(zip(*columns, strict=True))]

    def place(collision: Collision) -> list[float]:
        """Midway between the two centres; in the factual roll-out object_ids are positions."""
        return list(numbers(rollout.location[collision.frame, list(collision.object_ids)].mean(axis=0)))

    contacts = [_Contact(c.object_ids, c.frame, place(c)) for c in logged]
    video = _numbered("video", scene.scene_index, "mp4").name
    return msgspec.json.encode(_Annotation(scene.scene_index, video, rollout.objects, frames, contacts))
