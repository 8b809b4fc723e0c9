"""What a damaged clip shows, pixel by pixel, on clips small enough to write down."""

import numpy as np
import pytest

from videothinker.damage import AXES, Damage, damaged, order, shuffled

CLIP = np.array(
    [  # three frames of one row and two pixels
        [[[1, 2, 3], [4, 5, 6]]],
        [[[7, 8, 9], [10, 11, 12]]],
        [[[13, 14, 15], [16, 17, 18]]],
    ],
    np.uint8,
)


@pytest.mark.parametrize(
    ("damage", "shown"),
    [
        (Damage.BLANK, [[[[128, 128, 128]] * 2]] * 3),
        (Damage.FROZEN, [[[[1, 2, 3], [4, 5, 6]]]] * 3),
        (Damage.REVERSED, [[[[13, 14, 15], [16, 17, 18]]], [[[7, 8, 9], [10, 11, 12]]], [[[1, 2, 3], [4, 5, 6]]]]),
        (Damage.MIRRORED, [[[[4, 5, 6], [1, 2, 3]]], [[[10, 11, 12], [7, 8, 9]]], [[[16, 17, 18], [13, 14, 15]]]]),
    ],
)
def test_a_damaged_clip_shows_exactly_this(damage: Damage, shown: list[object]) -> None:
    before = CLIP.copy()
    assert damaged(CLIP, damage).tolist() == shown
    assert np.array_equal(before, CLIP)


@pytest.mark.parametrize("damage", Damage)
def test_size_and_number_stay_and_the_array_is_ones_own(damage: Damage) -> None:
    kept = np.broadcast_to(CLIP, CLIP.shape)  # cannot be written to, as frames of a cache cannot
    found = damaged(kept, damage, "a key")
    assert (found.shape, found.dtype) == (CLIP.shape, CLIP.dtype)
    assert found.flags.writeable
    assert found.flags.c_contiguous
    assert damage in AXES


def as_text(frames: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]") -> str:
    return "".join("abcdefgh"[frame[0, 0, 0]] for frame in frames)


def film(names: str) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    return np.array([[[["abcdefgh".index(name)] * 3]] for name in names], np.uint8)


def test_shuffling_keeps_every_frame_and_is_never_the_clip_itself() -> None:
    for n in range(2, 9):
        names = "abcdefgh"[:n]
        for key in map(str, range(50)):
            found = as_text(shuffled(film(names), key))
            assert sorted(found) == list(names)
            assert found != names
    assert {as_text(shuffled(film("ab"), str(key))) for key in range(20)} == {"ba"}


def test_shuffling_frames_of_which_most_are_alike_still_shows_another_clip() -> None:
    """Of the three orders of aab that can be told apart, the two others; a clip that stands still has no other."""
    assert {as_text(shuffled(film("aab"), str(key))) for key in range(30)} == {"aba", "baa"}
    assert as_text(shuffled(film("aaa"), "0")) == "aaa"


def test_the_order_is_its_keys_alone() -> None:
    assert order(6, "42 10000:12") == order(6, "42 10000:12")
    assert len({tuple(order(6, f"42 {number}:0")) for number in range(40)}) > 30
    first = [order(4, str(key))[0] for key in range(400)]
    assert all(70 < first.count(i) < 130 for i in range(4)), "every frame comes first about as often"
