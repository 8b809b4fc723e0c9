"""Holes in H.264 and HEVC: zeros where these codecs allow none.

What a torn download or a bad sector leaves is mostly a run of zeros, and the decoder often takes it for a picture. But inside
a unit of a picture three zero bytes in a row never occur: encoders break them up (ITU-T H.264, 7.4.1; H.265, 7.4.2), so that
a unit's beginning can be told. Other codecs have no such rule.
"""

from collections.abc import Iterator

_HOLE = b"\0\0\0"


def has_hole(codec: str, header: bytes, packet: bytes) -> bool:
    """Whether some unit with picture data has three zero bytes in a row; False for other codecs than H.264 and HEVC.

    codec: FFmpeg's name of it.
    header: the stream's extra data, which says how units are told apart; may be empty.
    """
    if codec not in ("h264", "hevc") or _HOLE not in packet:
        return False
    # Zeros at a unit's end are allowed in a stream of start codes, and sloppy programs carry one over into an mp4.
    return any(_HOLE in unit.rstrip(b"\0") for unit in _units(codec, header, packet) if _is_picture(codec, unit))


def _units(codec: str, header: bytes, packet: bytes) -> Iterator[bytes]:
    """The packet's units, without what tells them apart."""
    at = 4 if codec == "h264" else 21  # of the byte whose last two bits say how long a length is (ISO 14496-15)
    if header[:1] != b"\1" or len(header) <= at:  # no mp4 or Matroska: start codes stand between units
        yield from packet.split(b"\0\0\1")
        return
    size = (header[at] & 3) + 1
    start = 0
    while start + size <= len(packet):
        end = start + size + int.from_bytes(packet[start : start + size])
        yield packet[start + size : end]
        start = end


def _is_picture(codec: str, unit: bytes) -> bool:
    """The unit holds (part of) a picture; others may carry anything that a camera's maker wants in them."""
    if not unit:
        return False
    if codec == "h264":
        return 1 <= unit[0] & 31 <= 5
    return unit[0] >> 1 & 63 < 32
