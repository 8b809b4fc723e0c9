"""What a damaged clip shows, pixel by pixel, on clips small enough to write down."""

import numpy as np
import pytest

from videothinker.damage import AXES, Damage, damaged, mask, masked, order, shuffled

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


@pytest.mark.parametrize("damage", [damage for damage in Damage if not damage.is_mask])
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


def test_a_mask_hides_the_frames_it_names_and_no_others() -> None:
    before = CLIP.copy()
    assert masked(CLIP, [1]).tolist() == [CLIP[0].tolist(), [[[128, 128, 128]] * 2], CLIP[2].tolist()]
    assert np.array_equal(before, CLIP)


EIGHT = [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5]
"""Times of eight frames, in seconds."""


@pytest.mark.parametrize(
    ("evidence", "hidden"),
    [
        ([(0.9, 1.6)], (2, 3)),
        ([(1.6, 1.8)], (3,)),  # no frame lies within: 1.5 is nearer to 1.7 than 2.0
        ([(0.9, 1.1), (2.9, 3.1)], (2, 6)),
        ([(1.0, 3.0)], (2, 3, 4, 5)),  # five frames of eight: the four nearest to the middle, 2.0, and of two the earlier
        ([], ()),
    ],
)
def test_evidence_is_hidden_and_as_many_frames_elsewhere(evidence: list[tuple[float, float]], hidden: tuple[int, ...]) -> None:
    assert mask(Damage.EVIDENCE, EIGHT, evidence, "any") == hidden
    for key in map(str, range(30)):
        elsewhere = mask(Damage.ELSEWHERE, EIGHT, evidence, key)
        assert len(elsewhere) == len(hidden)
        assert not set(elsewhere) & set(hidden)
        assert elsewhere == mask(Damage.ELSEWHERE, EIGHT, evidence, key)


def test_what_is_hidden_elsewhere_goes_by_the_key() -> None:
    drawn = {mask(Damage.ELSEWHERE, EIGHT, [(0.9, 1.1)], f"42 0:{qid}") for qid in range(100)}
    assert drawn == {(position,) for position in range(8) if position != 2}


def test_a_clip_of_one_frame_has_nothing_to_hide_it_against() -> None:
    assert mask(Damage.EVIDENCE, [0.0], [(0.0, 1.0)], "a") == mask(Damage.ELSEWHERE, [0.0], [(0.0, 1.0)], "a") == ()
