"""Simulate a scene: what happens, what happens after the clip ends, and what would have happened without each object.

Every roll-out starts from the same initial state, so the counterfactual is exact: it is the same physics with one object
left out, and not an estimate. The physics is Chipmunk's (pymunk), two-dimensional and seen from above; `docs/world.md` says
why, with the measurement. A scene is a function of (seed, scene index) alone.

One collision is the first contact of two objects at a moment when both are in view. A pair that stays in touch, or meets again,
is the same event, so "the collision between X and Y" names at most one. Contacts out of view move objects but are not events,
because nobody sees them; those of the clip are kept apart, since the release's logs hold such contacts.
"""

import math
from collections.abc import Set
from dataclasses import dataclass
from functools import cache
from itertools import product
from random import Random
from typing import NamedTuple

import numpy as np
import pymunk
import pymunk.batch
from numpy.typing import NDArray

from videothinker.observers.log import is_seen
from videothinker.records import Collision, SceneObject
from videothinker.world.camera import in_view
from videothinker.world.table import COLORS, FPS, HALF_SIZE, MATERIALS, N_FRAMES, OFFSTAGE_RADIUS, SHAPES, STAGE_RADIUS

N_UNSEEN_FRAMES = 64
"""Frames simulated after the clip's end, for "what will happen next": 2.56 s."""
STEPS_PER_FRAME = 4
"""Physics steps per frame (100 Hz): in one step the fastest object moves less than a fifth of its width."""
DECELERATION = {"cube": 0.5, "cylinder": 0.5, "sphere": 0.25}
"""What the table's Coulomb friction takes from a moving object, in units/s^2; spheres roll, so they keep their speed longer."""
ELASTICITY = 0.75
"""Elasticity of each object; for two in contact the values are multiplied."""
FRICTION = 0.4
"""Coulomb coefficient of each object's side; for two in contact the values are multiplied."""
ENTRY_SPEED = (1.5, 3.5)
"""Range of the speed with which an object comes into view, in units per second."""
ENTRY_TIME = (0.0, 1.8)
"""Range of the time at which an object comes into view, in seconds."""
LATE_TIME = (3.4, 5.0)
"""Range of the time at which a late object comes into view, in seconds; it causes most of what happens after the clip."""
LATE_SHARE = 0.6
"""Share of the scenes with 4 objects or more in which one object comes late."""
N_OBJECTS = {3: 1, 4: 3, 5: 4, 6: 3}
"""Number of objects in a scene -> its relative frequency."""
AIM_SPREAD = 0.15
"""Standard deviation of where an entering object aims, around its target's centre, in each coordinate."""

_STATE = pymunk.batch.BodyFields.POSITION | pymunk.batch.BodyFields.ANGLE
_STATE |= pymunk.batch.BodyFields.VELOCITY | pymunk.batch.BodyFields.ANGULAR_VELOCITY
_GAP = 2 * math.sqrt(2) * HALF_SIZE + 0.06  # two cubes corner to corner, and a little air


_Contact = tuple[int, int, int]
"""(frame, object_id, object_id), smaller id first."""


class Start(NamedTuple):
    """Where one object is, and how it moves, at frame 0; nothing spins at the start."""

    x: float
    y: float
    yaw: float
    vx: float
    vy: float


@dataclass(frozen=True)
class Rollout:
    """What happens in one clip of T = `table.N_FRAMES` frames; the n objects present stand in the order of `objects`."""

    objects: tuple[SceneObject, ...]
    """The objects present, by object_id; a roll-out without an object keeps the others' ids."""
    location: NDArray[np.float32]
    """(T, n, 3): centre in CLEVRER's units, z up."""
    orientation: NDArray[np.float32]
    """(T, n): yaw in radians, counter-clockwise seen from above."""
    velocity: NDArray[np.float32]
    """(T, n, 3): units per second."""
    angular_velocity: NDArray[np.float32]
    """(T, n, 3): radians per second; only z is not 0."""
    collisions: tuple[Collision, ...]
    """First contacts in view, by frame, then ids."""


@dataclass(frozen=True)
class Simulation:
    """One scene: the factual roll-out and all counterfactual ones."""

    scene_index: int
    factual: Rollout
    unseen: tuple[Collision, ...]
    """First contacts in view in the `N_UNSEEN_FRAMES` after the clip, of pairs that did not collide in it."""
    without: dict[int, Rollout]
    """For each object_id, the roll-out of the same initial state without that object."""
    hidden: tuple[Collision, ...] = ()
    """First contacts in the clip, by frame, that its film cannot show (`observers.log.is_seen`), of pairs that are not among
    `factual.collisions`."""

    @property
    def objects(self) -> tuple[SceneObject, ...]:
        """All objects of the scene; object_id i is at position i."""
        return self.factual.objects


def simulate(seed: int, scene_index: int) -> Simulation:
    """Scene `scene_index` of the world `seed`, with every roll-out."""
    rng = Random(f"{seed}:{scene_index}:scene")
    objects, starts = draw_scene(rng)
    states, contacts = _run(objects, starts, N_FRAMES + N_UNSEEN_FRAMES)
    factual = _clip(objects, states, contacts)
    met = {collision.object_ids for collision in factual.collisions}
    later = _first_contacts(states, contacts)
    unseen = tuple(c for c in later if c.frame >= N_FRAMES and c.object_ids not in met)
    touched = {i for _, *pair in contacts for i in pair}
    without = {
        # Without an object that touched nothing the others move as before (tested), and using that saves a seventh of the time.
        i: roll_out(objects, starts, without=i) if i in touched else _clip(objects, states, contacts, without=i)
        for i in range(len(objects))
    }
    return Simulation(scene_index, factual, unseen, without, _hidden(states[:N_FRAMES], contacts, met))


def roll_out(objects: tuple[SceneObject, ...], starts: tuple[Start, ...], *, without: int | None = None) -> Rollout:
    """What happens in `N_FRAMES` frames from the given initial state; `starts` has that of object_id i at position i.

    The object `without` is not there. For the solver it is, as a ghost that touches nothing: leaving it out would change the
    order in which contacts are solved, and with it, in the sixth digit, the paths of objects that it never met.
    """
    return _clip(objects, *_run(objects, starts, N_FRAMES, without), without)


def draw_scene(rng: Random) -> tuple[tuple[SceneObject, ...], tuple[Start, ...]]:
    """Objects and initial state of a new scene: some at rest in view, the others on their way in.

    An entering object starts so far outside that friction leaves it with the drawn speed when it reaches the edge of the view
    at the drawn time, aimed near an object at rest. Nothing overlaps.
    """
    (n_objects,) = rng.choices(list(N_OBJECTS), weights=list(N_OBJECTS.values()))
    looks = rng.sample(list(product(COLORS, MATERIALS, SHAPES)), n_objects)
    n_entering = rng.randint(2, n_objects - 1)
    starts: list[Start] = []
    while len(starts) < n_objects - n_entering:
        # The square root makes places equally likely all over the disc.
        distance, angle = STAGE_RADIUS * math.sqrt(rng.random()), rng.uniform(-math.pi, math.pi)
        start = Start(distance * math.cos(angle), distance * math.sin(angle), rng.uniform(-math.pi, math.pi), 0.0, 0.0)
        if _is_free(start, starts, _GAP):
            starts.append(start)
    targets = list(starts)
    is_late = n_objects > 3 and rng.random() < LATE_SHARE
    while len(starts) < n_objects:
        time = rng.uniform(*(LATE_TIME if is_late and len(starts) == n_objects - 1 else ENTRY_TIME))
        start = _entering(rng, rng.choice(targets), time, DECELERATION[looks[len(starts)][2]])
        if _is_free(start, starts, 3 * _GAP):
            starts.append(start)
    order = rng.sample(range(n_objects), n_objects)  # otherwise a low id would mean "at rest at the start"
    objects = tuple(SceneObject(i, *looks[k]) for i, k in enumerate(order))
    return objects, tuple(starts[k] for k in order)


def _entering(rng: Random, target: Start, time: float, deceleration: float) -> Start:
    """An object outside the view that will come in after `time` seconds, if nothing stops it, and pass near the target."""
    aim_x, aim_y = rng.gauss(target.x, AIM_SPREAD), rng.gauss(target.y, AIM_SPREAD)
    direction = rng.randrange(360)
    edge_x, edge_y = _edge(direction)
    speed = rng.uniform(*ENTRY_SPEED)
    heading = math.atan2(aim_y - edge_y, aim_x - edge_x)
    # Back in time from the edge of the view: earlier it was faster, by what friction takes in the meantime.
    back = speed * time + deceleration * time**2 / 2
    speed += deceleration * time
    ux, uy = math.cos(heading), math.sin(heading)
    return Start(edge_x - back * ux, edge_y - back * uy, rng.uniform(-math.pi, math.pi), speed * ux, speed * uy)


@cache
def _edge(degrees: int) -> tuple[float, float]:
    """The point in this direction from the origin at which an object is only just out of view."""
    angle = math.radians(degrees)
    distances = np.arange(0, OFFSTAGE_RADIUS, 0.02)
    points = np.stack([distances * math.cos(angle), distances * math.sin(angle), np.full_like(distances, HALF_SIZE)], axis=-1)
    # The last place whose centre is in view, plus half the diagonal of a cube and a little air.
    distance = float(distances[np.flatnonzero(in_view(points))[-1]]) + math.sqrt(2) * HALF_SIZE + 0.05
    return distance * math.cos(angle), distance * math.sin(angle)


def _is_free(start: Start, others: list[Start], gap: float) -> bool:
    return all(math.hypot(start.x - other.x, start.y - other.y) >= gap for other in others)


def _run(
    objects: tuple[SceneObject, ...], starts: tuple[Start, ...], n_frames: int, ghost: int | None = None
) -> tuple[NDArray[np.float64], list[_Contact]]:
    """Run the physics: states (n_frames, n, 6) as x, y, yaw, vx, vy, spin, and every contact at the frame in which it began.

    ghost: object_id of an object that touches nothing; it has states all the same.
    """
    space = pymunk.Space()
    space.collision_slop = 0.002  # how far objects may sink into one another; Chipmunk's own 0.1 is a quarter of an object
    ids = {}
    for thing, start in zip(objects, starts, strict=True):
        body, shape = _body(thing.shape, start)
        if thing.object_id == ghost:
            shape.filter = pymunk.ShapeFilter(mask=0)
        grip = DECELERATION[thing.shape] * body.mass
        # The table's Coulomb friction, as is usual in physics engines for a view from above: joints to the ground that stop
        # all sliding and turning, with a strength limited to the friction force and its moment.
        slide = pymunk.PivotJoint(space.static_body, body, (0, 0), (0, 0))
        turn = pymunk.GearJoint(space.static_body, body, 0, 1)
        slide.max_bias = turn.max_bias = 0
        slide.max_force, turn.max_force = grip, grip * HALF_SIZE * 2 / 3
        space.add(body, shape, slide, turn)
        ids[body] = thing.object_id

    frame = 0
    contacts: list[_Contact] = []

    def touched(arbiter: pymunk.Arbiter, _space: pymunk.Space, _data: object) -> None:
        first, second = sorted(ids[body] for body in arbiter.bodies)
        contacts.append((frame, first, second))

    space.on_collision(begin=touched)
    buffer = pymunk.batch.Buffer()
    pymunk.batch.get_space_bodies(space, _STATE, buffer)
    for frame in range(1, n_frames):  # noqa: B007 - `touched` reads it
        for _ in range(STEPS_PER_FRAME):
            space.step(1 / FPS / STEPS_PER_FRAME)
        pymunk.batch.get_space_bodies(space, _STATE, buffer)
    # The buffer holds frame after frame, in each the bodies in the order in which they were added, and at the end the ground.
    return np.frombuffer(buffer.float_buf()).reshape(n_frames, -1, 6)[:, : len(objects)], contacts


def _body(shape: str, start: Start) -> tuple[pymunk.Body, pymunk.Shape]:
    """An object for the solver, of mass 1 as in CLEVRER; seen from above a cube is a square and the others are circles."""
    edge = 2 * HALF_SIZE
    is_cube = shape == "cube"
    moment = pymunk.moment_for_box(1, (edge, edge)) if is_cube else pymunk.moment_for_circle(1, 0, HALF_SIZE)
    body = pymunk.Body(1, moment)
    body.position, body.angle, body.velocity = (start.x, start.y), start.yaw, (start.vx, start.vy)
    outline = pymunk.Poly.create_box(body, (edge, edge)) if is_cube else pymunk.Circle(body, HALF_SIZE)
    outline.elasticity, outline.friction = ELASTICITY, FRICTION
    return body, outline


def _first_contacts(states: NDArray[np.float64], contacts: list[_Contact]) -> tuple[Collision, ...]:
    """The collisions among all contacts, as the module's docstring defines one, by frame, then ids."""
    seen = in_view(_location(states))
    first: dict[tuple[int, int], int] = {}
    for frame, a, b in contacts:
        if seen[frame, a] and seen[frame, b]:
            first.setdefault((a, b), frame)
    return tuple(Collision(frame, pair) for pair, frame in sorted(first.items(), key=lambda item: (item[1], item[0])))


def _hidden(states: NDArray[np.float64], contacts: list[_Contact], met: Set[tuple[int, int]]) -> tuple[Collision, ...]:
    """The first contact of each pair outside `met`, where the frames of `states` cannot show it, by frame, then ids."""
    seen = in_view(_location(states))
    first: dict[tuple[int, int], int] = {}
    for frame, a, b in contacts:
        if frame < len(states) and (a, b) not in met:
            first.setdefault((a, b), frame)
    # Column pairs [a, b] of `seen` as (bool, bool) per frame; the frames after the contact decide where one object is in view.
    both = {pair: [(bool(a), bool(b)) for a, b in seen[frame:, list(pair)]] for pair, frame in first.items()}
    found = [Collision(frame, pair, seen=False) for pair, frame in first.items() if not is_seen(both[pair][0], both[pair][1:])]
    return tuple(sorted(found, key=lambda collision: (collision.frame, collision.object_ids)))


def _location(states: NDArray[np.float64]) -> NDArray[np.float32]:
    """Centres (..., 3) of states (..., 6); every centre is at the height `HALF_SIZE`."""
    location = np.full((*states.shape[:-1], 3), HALF_SIZE, np.float32)
    location[..., :2] = states[..., :2]
    return location


def _clip(
    objects: tuple[SceneObject, ...], states: NDArray[np.float64], contacts: list[_Contact], without: int | None = None
) -> Rollout:
    """The first `N_FRAMES` frames as a roll-out; `without` leaves out that object."""
    present = [thing.object_id for thing in objects if thing.object_id != without]
    states = states[:N_FRAMES]
    collisions = _first_contacts(states, [contact for contact in contacts if contact[0] < N_FRAMES])
    states = states[:, present]  # only now: contacts name objects by id, which is the column as long as all are there
    velocity, angular_velocity = np.zeros((2, *states.shape[:2], 3), np.float32)
    velocity[..., :2] = states[..., 3:5]
    angular_velocity[..., 2] = states[..., 5]
    yaw = states[..., 2].astype(np.float32)
    return Rollout(tuple(objects[i] for i in present), _location(states), yaw, velocity, angular_velocity, collisions)
