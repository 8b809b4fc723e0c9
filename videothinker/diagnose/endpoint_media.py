"""What a question shows, as parts of a message to an OpenAI-compatible server: a clip, an image, or nothing.

A clip goes out whole as `video_url`, and the server chooses its frames. Frames that are chosen here go out as one lossless clip
at the rate that keeps their times (`lossless`), or as N images, of which most models do not know when each of them was. An
image goes out lossless at its own size, scaled down where it has more pixels than an image may have.
"""

import base64
import io
import mimetypes
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from videothinker.diagnose.fed import told_of_stills
from videothinker.diagnose.frame_choice import frame_rule
from videothinker.diagnose.frame_rules import FrameRule
from videothinker.diagnose.lossless import alone, encode
from videothinker.diagnose.prompt_length import Kind, PromptLengths, Still
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.footage import Footage
from videothinker.frames import Clip, Frames
from videothinker.records.question import IMAGE_MAX_PIXELS

_NEEDS = "which vLLM 0.32 takes where it was started with --trust-request-mm-kwargs"


class Media(NamedTuple):
    """What a question shows, as it goes out."""

    parts: list[dict[str, Any]]
    """Of the message."""
    kind: Kind | Still | None
    """What the server is meant to see of it, for the length of the prompt; None for a clip as images."""
    hint: str = ""
    """How it is sent that not every server takes, in brackets, for the message of one that refuses it; else empty."""
    to_vllm: Mapping[str, Any] = {}
    """What vLLM is told of it beside the parts."""
    vllm_hint: str = ""
    """As `hint`, where it is vLLM."""


WORDS = Media([], Still())
"""Of a question that shows nothing."""


def chosen_here(settings: DiagnosisSettings) -> FrameRule | None:
    """The rule by which frames are chosen here; None where the clip is sent whole, for the server to choose."""
    return frame_rule(settings) or (FrameRule("floor", settings.n_frames) if settings.n_frames else None)


class Sent:
    """Makes what is sent of clips and images, and counts it.

    lengths: what the checkpoint's own processor makes of it, where that is known.
    """

    def __init__(self, settings: DiagnosisSettings) -> None:
        self._frames, self._settings = chosen_here(settings), settings
        self.lengths: PromptLengths | None = None
        self.n_texts = 0
        """Questions of words alone."""
        self._clips: Counter[tuple[int | None, int, int]] = Counter()  # (frames, height, width): clips
        self._images: Counter[tuple[int, int, int | None]] = Counter()  # (height, width, not known): images

    def clip(self, footage: Footage, clip: Clip) -> Media:
        """How a clip goes out."""
        if self._frames is None:
            height, width = clip.frames.shape[1:3]
            self._clips[None, height, width] += 1
            chosen = tuple(self.lengths.frames.indices(clip.fps, clip.n_total)) if self.lengths else ()
            kind = Kind(len(chosen) or None, height, width, clip.fps, clip.n_total, chosen)
            kind_of_file = mimetypes.guess_type(footage.path)[0] or "video/mp4"
            return Media([_video(kind_of_file, footage.path.read_bytes())], kind, _AS_FILE)
        images = [_scaled(frame, self._settings.max_pixels) for frame in clip.frames]
        height, width = images[0].height, images[0].width
        self._clips[len(images), height, width] += 1
        if self._settings.send == "images":
            return Media([_image(image) for image in images], None)
        sent = alone(clip._replace(frames=np.stack([np.asarray(image) for image in images])))
        kind = Kind(len(images), height, width, sent.fps, sent.n_total, sent.indices)
        return Media([_video("video/mp4", encode(sent))], kind, _AS_CLIP, _ALL_FRAMES, _AS_VLLMS_CLIP)

    def image(self, pixels: Frames, *, to_vllm: bool) -> Media:
        """How an image goes out. pixels: (height, width, 3). to_vllm: vLLM is told how large it may be, as our engines are."""
        image = _scaled(pixels, IMAGE_MAX_PIXELS)
        self._images[image.height, image.width, None] += 1
        return Media([_image(image)], Still(image.height, image.width, to_vllm), "", _OUR_PIXELS, _AS_VLLMS_IMAGE)

    def describe(self) -> dict[str, Any]:
        """For run.json: whole clips (`frames` is None, the server chose), clips of chosen frames or images; and `stills`, where
        there were some."""
        clips = sorted(self._clips.items(), key=lambda item: (item[0][0] or 0, *item[0][1:]))
        return {
            "sent": "video" if self._frames is None else self._settings.send,
            "fed": [
                {"n_clips": n, "frames": frames, "height": height, "width": width, "video_tokens": None}
                for (frames, height, width), n in clips
            ],
            **told_of_stills(self._images, self.n_texts),
        }


_ALL_FRAMES: dict[str, Any] = {
    "media_io_kwargs": {"video": {"video_backend": "opencv", "num_frames": -1, "fps": -1}},
    "mm_processor_kwargs": {"do_sample_frames": False},
}
"""Asks vLLM for all frames of a clip, by its loader that does not round their number, and its processor not to choose again."""
_OUR_PIXELS: dict[str, Any] = {"mm_processor_kwargs": {"max_pixels": IMAGE_MAX_PIXELS}}
"""Asks vLLM to let an image have as many pixels as in our own engines, whatever the checkpoint's processor is set to."""
_AS_FILE = " (the file goes out as it is; for a server that takes images alone, as `transformers serve` does, give --frames N"
_AS_FILE += " --send images)"
_AS_CLIP = " (frames go out as one clip; --send images is for servers that take images alone, as `transformers serve` does)"
_AS_VLLMS_CLIP = f" (frames go out as one clip, all of which vLLM is asked to show, {_NEEDS})"
_AS_VLLMS_IMAGE = f" (vLLM is asked to show an image of at most {IMAGE_MAX_PIXELS:,} pixels, {_NEEDS})"


def _video(kind: str, content: bytes) -> dict[str, Any]:
    return {"type": "video_url", "video_url": {"url": _data_url(kind, content)}}


def _image(image: Image.Image) -> dict[str, Any]:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)  # lossless: it is what a local checkpoint would see
    return {"type": "image_url", "image_url": {"url": _data_url("image/png", buffer.getvalue())}}


def _data_url(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _scaled(pixels: Frames, max_pixels: int | None) -> Image.Image:
    """One (height, width, 3) frame or image, scaled down to `max_pixels` where it has more."""
    image = Image.fromarray(pixels)
    scale = 1.0 if max_pixels is None else (max_pixels / (image.width * image.height)) ** 0.5
    if scale >= 1:
        return image
    return image.resize((max(1, int(image.width * scale)), max(1, int(image.height * scale))), Image.Resampling.BICUBIC)
