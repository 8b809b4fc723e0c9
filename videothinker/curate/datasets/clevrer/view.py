"""Which logged collisions the film shows, from an annotation's trajectory.

The trajectory is over 99 % of an annotation's bytes. Of every frame the number is read; of a frame's objects, who is in view,
and that only of frames that decide about a collision: its own, and later ones while just one of the two objects is in view.
"""

from collections.abc import Iterator, Sequence, Set

import msgspec

from videothinker.curate.datasets.clevrer.faults import explain
from videothinker.observers.log import Pair, is_seen

N_FRAMES = 128
"""Frames of a CLEVRER clip (5.12 s at 25 frames per second)."""


class TrajectoryError(ValueError):
    """A trajectory contradicts itself or the annotation; says in which field."""


class Frame(msgspec.Struct):
    """One frame of a trajectory as it is first read: its objects are still JSON."""

    frame_id: int
    objects: msgspec.Raw


class _State(msgspec.Struct, gc=False):  # holds no references, so that the garbage collector need not know of it
    object_id: int
    inside_camera_view: bool | msgspec.UnsetType = msgspec.UNSET


_states_decoder = msgspec.json.Decoder(list[_State])


class Trajectory:
    """Who is in view when."""

    def __init__(self, frames: Sequence[Frame], object_ids: Set[int]) -> None:
        """frames: as the annotation has them, in any order, none twice. object_ids: those that the scene defines.

        Raises:
            TrajectoryError: a frame is outside 0 to 127, or there twice.
        """
        self._object_ids = object_ids
        self._places: dict[int, int] = {}  # frame -> its position in the file, which errors name
        self._frames = frames
        self._in_view: dict[int, dict[int, bool]] = {}
        for place, frame in enumerate(frames):
            if not 0 <= frame.frame_id < N_FRAMES:
                raise TrajectoryError(f"motion_trajectory[{place}].frame_id is {frame.frame_id}, expected 0 to {N_FRAMES - 1}")
            if self._places.setdefault(frame.frame_id, place) != place:
                raise TrajectoryError(f"motion_trajectory[{place}].frame_id is {frame.frame_id} a second time")

    def shows(self, contact: int, pair: Pair) -> bool | None:
        """Does the film show the contact of a pair at a frame (`observers.log.is_seen`)? None: the trajectory does not say.

        Raises:
            TrajectoryError: a frame that has to be read is no list of the scene's objects.
        """
        now = self._both(contact, pair)
        if now is None:
            return None
        return is_seen(now, self._later(contact, pair))

    def _later(self, contact: int, pair: Pair) -> Iterator[tuple[bool, bool]]:
        """The frames after the contact of which the trajectory says whether the two are in view."""
        for frame in range(contact + 1, N_FRAMES):
            if (both := self._both(frame, pair)) is not None:
                yield both

    def _both(self, frame: int, pair: Pair) -> tuple[bool, bool] | None:
        states = self._read(frame)
        first, second = (states.get(object_id) for object_id in pair)
        return None if first is None or second is None else (first, second)

    def _read(self, frame: int) -> dict[int, bool]:
        """Whether each object is in view at a frame; without those of which the trajectory does not say it."""
        if frame not in self._in_view:
            place = self._places.get(frame)
            self._in_view[frame] = {} if place is None else self._decode(place)
        return self._in_view[frame]

    def _decode(self, place: int) -> dict[int, bool]:
        where = f"motion_trajectory[{place}].objects"
        try:
            states = _states_decoder.decode(self._frames[place].objects)
        except msgspec.MsgspecError as error:
            reason = explain(error)
            raise TrajectoryError(f"{where}{'' if reason.startswith('[') else ': '}{reason}") from error
        listed: set[int] = set()
        for position, state in enumerate(states):
            if state.object_id not in self._object_ids:
                raise TrajectoryError(f"{where}[{position}] is object {state.object_id}, which is not in object_property")
            if state.object_id in listed:
                raise TrajectoryError(f"{where}[{position}] is object {state.object_id} a second time")
            listed.add(state.object_id)
        return {one.object_id: one.inside_camera_view for one in states if one.inside_camera_view is not msgspec.UNSET}
