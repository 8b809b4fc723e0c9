"""What a checkpoint is really fed: which frames, of which size, at which time, and each clip once."""

import shutil
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from diagnose.architectures import write_llava, write_qwen3
from diagnose.asking import answers, replies, right_replies, settings
from transformers import AutoProcessor

from videothinker.answers import Style
from videothinker.clips import ClipCache
from videothinker.curated import Curated
from videothinker.diagnose import feed, prompts
from videothinker.diagnose.checkpoint_answerer import open_checkpoint
from videothinker.diagnose.prompts import chats, in_style, write_prompts
from videothinker.errors import VtError
from videothinker.frames import read_clip
from videothinker.models import load


def test_frames_and_pixels_by_option(taught: Path, colours: Curated) -> None:
    checkpoint = open_checkpoint(str(taught), curated=colours, settings=settings(n_frames=7, max_pixels=4 * 28 * 28))
    answers(checkpoint, colours)
    # 7 frames and the last one again; scaled into 3,136 pixels 84 x 56 is 68.6 x 45.7, and multiples of 28 below are 56 x 28
    assert checkpoint.describe()["fed"] == [{"n_clips": 3, "frames": 7, "height": 28, "width": 56, "video_tokens": 8}]


def test_a_processor_without_sampling_of_its_own_is_fed_as_in_the_paper(taught: Path, colours: Curated, tmp_path: Path) -> None:
    shutil.copytree(taught, tmp_path / "model")
    processor = AutoProcessor.from_pretrained(tmp_path / "model")
    processor.video_processor.do_sample_frames = False
    processor.video_processor.num_frames = None
    processor.save_pretrained(tmp_path / "model")
    checkpoint = open_checkpoint(str(tmp_path / "model"), curated=colours, settings=settings(max_new_tokens=1))
    answers(checkpoint, colours)
    assert checkpoint.describe()["fed"][0]["frames"] == 32
    assert checkpoint.describe()["sampling"] == {"processor": "Qwen2VLVideoProcessor", "n_frames": 32, "max_pixels": 200_704}


def film(path: Path, n: int) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 480, 320, "yuv420p"
        for i in range(n):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((320, 480, 3), i, np.uint8), format="rgb24")))
        container.mux(stream.encode())
    return path


def test_a_clevrer_clip_keeps_its_time(taught: Path, colours: Curated, monkeypatch: pytest.MonkeyPatch) -> None:
    """16 of 128 frames at 25 a second: two frames of a grid step are 0.64 s apart, and positions grow by 2 a second."""
    assert colours.videos_root is not None
    film(colours.videos_root / "red.mp4", 128)
    checkpoint = open_checkpoint(str(taught), curated=colours, settings=settings(max_new_tokens=1))
    seen: dict[str, Any] = {}
    inner = checkpoint.loaded.model.generate
    monkeypatch.setattr(checkpoint.loaded.model, "generate", lambda **inputs: (seen.update(inputs), inner(**inputs))[1])
    question = colours.questions("dev")[0]
    [answer] = checkpoint.answer([question])
    assert answer.truncated
    assert list(seen["second_per_grid_ts"]) == pytest.approx([0.64])
    assert checkpoint.feed.frames.indices(25.0, 128) == list(range(0, 128, 8))
    positions, _ = checkpoint.loaded.model.model.get_rope_index(
        seen["input_ids"],
        mm_token_type_ids=seen["mm_token_type_ids"],
        video_grid_thw=torch.tensor([[8, 8, 12]]),
        second_per_grid_ts=seen["second_per_grid_ts"],
        attention_mask=seen["attention_mask"],
    )
    time = positions[0, 0][seen["mm_token_type_ids"][0] == 2].unique()
    assert (time - time[0]).tolist() == [0, 1, 2, 3, 5, 6, 7, 8]  # floor(0.64 s * 2 * step)


def test_a_vision_tower_short_of_memory_sees_fewer_clips_at_once(
    taught: Path, colours: Curated, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = open_checkpoint(str(taught), curated=colours, settings=settings())
    sizes, inner = [], feed.see

    def scarce(model: Any, patches: Any, grids: Any, seconds: Any) -> Any:
        sizes.append(len(patches))
        if len(patches) > 1:
            raise torch.OutOfMemoryError
        return inner(model, patches, grids, seconds)

    monkeypatch.setattr(feed, "see", scarce)
    assert {key: answer.reply for key, answer in answers(checkpoint, colours).items()} == right_replies(colours)
    assert sizes == [3, 1, 1, 1]


def test_clips_sized_together_are_those_sized_alone(taught: Path, colours: Curated) -> None:
    checkpoint = open_checkpoint(str(taught), curated=colours, settings=settings(max_pixels=4 * 28 * 28))
    questions = colours.questions("dev")
    shown = []
    for question in questions[::2]:
        path = colours.clip(question)
        assert path is not None
        shown.append(checkpoint.feed.show(read_clip(path, n_frames=16)))
    text = chats(checkpoint.loaded.processor, questions[:1], in_style(Style.COT))[0]
    for together, each in zip(checkpoint.feed.patches(shown), shown, strict=True):
        assert torch.equal(together, checkpoint.feed.process(text, each)["pixel_values_videos"])


def test_what_is_remembered_of_kinds_of_clips_is_bounded(
    taught: Path, colours: Curated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts are mostly of different lengths, so that each is of a kind of its own; replies do not change."""
    monkeypatch.setattr(feed, "_KINDS", 2)
    checkpoint = open_checkpoint(str(taught), curated=colours, settings=settings(n_frames=4, max_new_tokens=1))
    question = colours.questions("dev")[0]
    clip = colours.clip(question)
    assert clip is not None
    written = write_prompts(checkpoint.loaded.processor, [question], in_style(Style.COT))
    ids = []
    for end in (0.4, 0.6, 0.8, 0.4):
        [row] = checkpoint.feed.rows(
            [(checkpoint.feed.show(read_clip(clip._replace(end=end), n_frames=4)), [question])], written
        )
        ids.append(row.ids)
        assert len(checkpoint.feed._starts) <= 2
    assert ids[0] == ids[3]


def test_a_clip_is_decoded_and_seen_once(
    taught: Path, colours: Curated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = ClipCache(tmp_path / "cache", 10**8)
    checkpoint = open_checkpoint(str(taught), curated=colours, settings=settings(batch_size=1), cache=cache)
    seen: list[int] = []
    checkpoint.loaded.model.model.visual.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    answers(checkpoint, colours)
    assert seen == [3 * 8 * 4 * 6]  # 8 pairs of frames of 4 x 6 patches
    kept = sorted(cache.folder.glob("*.frames"))
    assert len(kept) == 3
    written = [path.stat().st_ino for path in kept]
    answers(checkpoint, colours)
    assert [path.stat().st_ino for path in sorted(cache.folder.glob("*.frames"))] == written


def test_qwen3_in_batches_says_what_it_says_alone(colours: Curated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_qwen3(tmp_path / "qwen3")
    batched = replies(folder, colours, n_frames=8, max_pixels=4 * 32 * 32, max_new_tokens=8)
    checkpoint = open_checkpoint(
        str(folder), curated=colours, settings=settings(n_frames=8, max_pixels=4 * 32 * 32, max_new_tokens=8)
    )
    assert {key: answer.reply for key, answer in answers(checkpoint, colours).items()} == batched
    # 84 x 56 scaled into 4,096 pixels a frame is 78.4 x 52.3; multiples of 32 below: 64 x 32, two tokens a pair of frames
    assert checkpoint.describe()["fed"] == [{"n_clips": 3, "frames": 8, "height": 32, "width": 64, "video_tokens": 8}]
    monkeypatch.setattr(load, "TESTED", ())  # pixels for every row, one row at a time: the plain way
    monkeypatch.setattr(prompts, "_ends", lambda *_: None)
    assert replies(folder, colours, n_frames=8, max_pixels=4 * 32 * 32, max_new_tokens=8, batch_size=1) == batched
    assert len(set(batched.values())) > 1


def test_another_architecture_takes_the_plain_path(colours: Curated, tmp_path: Path) -> None:
    folder = write_llava(tmp_path / "llava")
    alone = replies(folder, colours, n_frames=4, max_new_tokens=6, batch_size=1)
    assert replies(folder, colours, n_frames=4, max_new_tokens=6, batch_size=4) == alone
    checkpoint = open_checkpoint(str(folder), curated=colours, settings=settings(n_frames=4, max_new_tokens=1))
    answers(checkpoint, colours)
    # 4 x 4 patches pooled to 2 x 2 a frame, and one token for the end of the clip
    assert checkpoint.describe()["fed"] == [{"n_clips": 3, "frames": 4, "height": 56, "width": 56, "video_tokens": 17}]
    with pytest.raises(VtError, match="--max-pixels"):
        open_checkpoint(str(folder), curated=colours, settings=settings(max_pixels=10_000))
