"""Everybody who shows or keeps clips: of a part, or a folder of frames, each gets what a file cut out beforehand would give.

One film is red, then green, then blue. Its thirds are asked about as parts of the film, as files of their own, as folders of
frames, and as parts of one folder.
"""

import base64
import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import msgspec
import numpy as np
import pytest
from conftest import COLOURS, colour_question
from curated_factory import a_choice, write_curated
from diagnose.asking import answers, right_replies, settings
from PIL import Image
from test_frames import film as small_film

from videothinker import clip_process
from videothinker import clips as clips_module
from videothinker.cli import app
from videothinker.clips import ClipReader, cached_clip, default_cache
from videothinker.curate.export import Export, video_r1_row
from videothinker.curated import NO_LABELS, Curated, open_curated
from videothinker.diagnose import endpoint as endpoint_module
from videothinker.diagnose import run
from videothinker.diagnose.checkpoint_answerer import open_checkpoint
from videothinker.diagnose.endpoint import open_endpoint
from videothinker.diagnose.fed import add_fed
from videothinker.errors import VtError
from videothinker.footage import Footage
from videothinker.frames import Clip as ReadClip
from videothinker.frames import Frames, clip_indices, read_clip
from videothinker.records import Clip
from videothinker.reports.browser import Films, browser_data
from videothinker.reports.strips import Strips
from videothinker.shards import Shard
from videothinker.train.data import training_rows
from videothinker.train.stage_files import make_stage
from videothinker.train.stages import Stage

N = 32
"""Frames of a third, at 25 a second: 1.28 s."""


def square(number: int) -> Frames:
    """Frame `number` of the film: a square that crosses the picture once in each colour."""
    frame = np.full((56, 84, 3), 120, np.uint8)
    left = 3 * (number % N) // 2
    frame[5:50, left : left + 35] = list(COLOURS.values())[number // N]
    return frame


def write(path: Path, first: int, n: int) -> None:
    """Frames `first` to `first + n` of the film, without loss."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 84, 56, "bgr0"
        for number in range(first, first + n):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(square(number), format="rgb24")))
        container.mux(stream.encode())


def save(folder: Path, first: int, n: int) -> None:
    """The same frames as pictures."""
    folder.mkdir()
    for number in range(first, first + n):
        Image.fromarray(square(number)).save(folder / f"{number + 1:05}.png")


@pytest.fixture(scope="module")
def thirds(tmp_path_factory: pytest.TempPathFactory) -> Curated:
    """Question SCENE:QID is about third SCENE; QID says how: 0 part of the film, 1 file, 2 folder, 3 part of a folder."""
    folder = tmp_path_factory.mktemp("thirds")
    videos = folder / "curated" / "videos"
    videos.mkdir(parents=True)
    write(videos / "film.mkv", 0, 3 * N)
    save(videos / "frames", 0, 3 * N)
    questions = []
    for scene, colour in enumerate(COLOURS):
        write(videos / f"{colour}.mkv", scene * N, N)
        save(videos / colour, scene * N, N)
        start, end = 1.28 * scene, 1.28 * (scene + 1)
        for qid, clip in enumerate(
            (
                Clip(path="film.mkv", start=start, end=end),
                Clip(path=f"{colour}.mkv"),
                Clip(path=colour, fps=25.0),
                Clip(path="frames", start=start, end=end, fps=25.0),
            )
        ):
            one = colour_question(scene, qid, colour, negated=False)
            questions.append(one._replace(question=msgspec.structs.replace(one.question, clip=clip)))
    return write_curated(folder / "curated", {"dev": questions}, videos_root="videos", scenes=())


def footage(thirds: Curated) -> list[Footage]:
    """Of all questions: four a third."""
    return [one for question in thirds.questions("dev") if (one := thirds.clip(question)) is not None]


def test_a_checkpoint_sees_the_part_and_nothing_else(thirds: Curated, taught: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Taught to tell the colour of a clip, it is right about the thirds only if it is shown these alone."""
    checkpoint = open_checkpoint(str(taught), curated=thirds, settings=settings())
    shown: list[ReadClip] = []
    show = checkpoint.feed.show
    monkeypatch.setattr(checkpoint.feed, "show", lambda clip: (shown.append(clip), show(clip))[1])
    assert {key: answer.reply for key, answer in answers(checkpoint, thirds).items()} == right_replies(thirds)
    assert len(shown) == 12
    for clip in shown:
        assert clip.metadata() == {
            "total_num_frames": N,
            "fps": 25.0,
            "frames_indices": list(range(0, N, 2)),
            "duration": 1.28,
            "width": 84,
            "height": 56,
        }
    assert len({clip.frames.tobytes() for clip in shown}) == 3
    said = checkpoint.describe()
    assert said["clips"] == {"files": 6, "folders": 6, "parts": 6, "past_end": 0}
    assert said["fed"] == [{"n_clips": 12, "frames": 16, "height": 56, "width": 84, "video_tokens": 48}]


def test_a_server_is_sent_the_parts_frames_or_asked_nothing(thirds: Curated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_module.Server, "reach", lambda self: None)
    with pytest.raises(
        VtError, match=r"--endpoint needs --frames for these questions: 0:0 is about a part of its clip \(.*film"
    ):
        open_endpoint(["http://localhost:1/v1"], "served", curated=thirds, settings=settings())
    asked: dict[str, list[Any]] = {}

    def post(self: object, body: dict[str, Any], what: str, hint: str = "") -> Any:
        asked[what.split(" ")[1]] = body["messages"][0]["content"][:-1]
        raise VtError("no more is wanted")

    monkeypatch.setattr(endpoint_module.Server, "post", post)
    endpoint = open_endpoint(["http://localhost:1/v1"], "served", curated=thirds, settings=settings(n_frames=4, batch_size=1))
    for question in thirds.questions("dev"):
        with pytest.raises(VtError, match="no more is wanted"):
            list(endpoint.answer([question]))
    for key, (clip,) in asked.items():
        with av.open(io.BytesIO(base64.b64decode(clip["video_url"]["url"].partition(",")[2]))) as container:
            assert container.streams.video[0].average_rate == Fraction(4 * 25, N)
            frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
        first = int(key[0]) * N
        np.testing.assert_array_equal(frames, np.stack([square(first + i) for i in (0, 8, 16, 24)]))
    assert len(asked) == 12
    assert endpoint.describe()["clips"] == {"files": 6, "folders": 6, "parts": 6, "past_end": 0}


def test_training_encodes_the_part(thirds: Curated, taught: Path) -> None:
    from transformers import AutoProcessor

    from videothinker.train.clips import PromptEncoder
    from videothinker.train.data import ClipPrompt

    processor = AutoProcessor.from_pretrained(taught)
    video_token = processor.tokenizer.convert_tokens_to_ids(processor.video_token)
    encode = PromptEncoder(processor, n_frames=4, max_pixels=6 * 784, video_token=video_token)
    found = encode([ClipPrompt(one, "what?") for one in footage(thirds)])
    for scene in range(3):
        part, file, *folders = found.clips[4 * scene : 4 * scene + 4]
        for other in (part, *folders):
            np.testing.assert_array_equal(other.patches, file.patches)
            assert other[1:] == file[1:]
            assert (file.grid, file.seconds_per_pair) == ((2, 4, 6), 0.64)  # a pair of frames spans 2 * 1.28 / 4 s
    assert not np.array_equal(found.clips[0].patches, found.clips[4].patches)
    with pytest.raises(VtError, match=r"film\.mkv \[0 s, 0\.08 s\): has 2 frames, data\.n_frames asks for 4"):
        encode([ClipPrompt(footage(thirds)[0]._replace(end=0.08), "what?")])


def test_warming_keeps_parts_apart_and_what_is_kept_is_neither_opened_nor_decoded(
    thirds: Curated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VIDEOTHINKER_CACHE", str(tmp_path / "cache"))
    command = ["clips", "warm", "--data", str(thirds.folder), "--frames", "4", "--workers", "1"]
    with pytest.raises(SystemExit) as end:
        app(command)
    assert end.value.code == 0
    assert "12 of 12 clips kept" in capsys.readouterr().out
    monkeypatch.setattr(clips_module, "Worker", None)  # no process can be started any more
    monkeypatch.setattr(clip_process, "read_clip", None)
    with ClipReader(sample=lambda _, n: clip_indices(n, 4), cache=default_cache()) as reader:
        for number, (one, clip) in enumerate(reader.read(footage(thirds))):
            assert isinstance(clip, ReadClip), clip
            np.testing.assert_array_equal(clip.frames, np.stack([square(number // 4 * N + i) for i in (0, 8, 16, 24)]))
            assert clip[1:] == ((0, 8, 16, 24), 25.0, N)
            trained = cached_clip(one, n_frames=4, max_pixels=None, cache=default_cache())
            np.testing.assert_array_equal(trained.frames, clip.frames)


def test_a_part_shares_what_is_kept_of_the_whole_and_a_changed_picture_is_noticed(tmp_path: Path) -> None:
    save(tmp_path / "f", 0, N + 4)
    cache = clips_module.ClipCache(tmp_path / "cache", 10**8)
    whole, part = Footage(tmp_path / "f", fps=25.0), Footage(tmp_path / "f", 0.4, None, 25.0)
    decoding = clips_module.Decoding("pyav", None, cache)
    seen = [decoding.look(one, decoding.open) for one in (whole, part)]
    assert [(one.n_total, one.first) for one in seen] == [(36, 0), (26, 10)]
    decoding.fresh(whole, seen[0], (10, 11))
    kept = decoding.kept(seen[1], (0, 1))
    assert kept is not None
    np.testing.assert_array_equal(kept, np.stack([square(10), square(11)]))
    assert decoding.kept(seen[1], (10, 11)) is None
    slower = part._replace(fps=10.0)
    assert decoding.look(slower, decoding.open)[1:] == (10.0, 32, 4, 0.0)
    Image.fromarray(square(3)).save(tmp_path / "f" / "00011.png")  # what stands at frame 10 is another picture now
    changed = decoding.look(part, decoding.open)
    assert changed.digest != seen[1].digest
    assert decoding.kept(changed, (0, 1)) is None


def test_a_strip_shows_the_part(thirds: Curated) -> None:
    strips = [Strips().read(one, (0, 10, 31)) for one in footage(thirds)]
    assert None not in strips
    for scene in range(3):
        part, file, *others = strips[4 * scene : 4 * scene + 4]
        assert part == file
        assert others == [file, file]
    assert strips[0] != strips[4]


def test_a_page_says_the_part_and_its_link_plays_it(thirds: Curated) -> None:
    films = Films(thirds.videos_root, thirds.folder)
    data = browser_data([("dev", question) for question in thirds.questions("dev")], NO_LABELS, {}, films)
    said = [(row["clip"], row["play"] and row["play"]["clip"]) for row in data["questions"][4:8]]
    assert said == [
        ("film.mkv, from 1.28 s to 2.56 s", "videos/film.mkv#t=1.28,2.56"),
        ("green.mkv", "videos/green.mkv"),
        ("green, frames at 25 per second", None),
        ("frames, frames at 25 per second, from 1.28 s to 2.56 s", None),
    ]
    open_end = films.part(Clip(path="film.mkv", start=0.5))
    assert open_end is not None
    assert open_end["clip"] == "videos/film.mkv#t=0.5"


def test_parts_of_one_film_stay_together_when_work_is_shared(thirds: Curated) -> None:
    questions = thirds.questions("dev")
    shares = [run.by_clip(questions, Shard(index, 3)) for index in (1, 2, 3)]
    assert sorted(one.question_id for share in shares for one in share) == sorted(one.question_id for one in questions)
    paths = [{one.clip.path for one in share} for share in shares]
    assert not paths[0] & paths[1]
    assert not (paths[0] | paths[1]) & paths[2]


def test_where_clips_came_from_is_summed_over_sessions() -> None:
    once = {"clips": {"files": 6, "folders": 6, "parts": 6, "past_end": 1}}
    assert add_fed(once, [once, {"clips": {"files": 1, "folders": 0, "parts": 0, "past_end": 0}}])["clips"] == {
        "files": 13,
        "folders": 12,
        "parts": 12,
        "past_end": 2,
    }


# ---- exports ----


@pytest.mark.parametrize(
    ("clip", "kind", "more"),
    [
        (Clip(path="a.mp4"), "video", {}),
        (Clip(path="a.mp4", start=0.0, end=2.5), "video", {"start": 0.0, "end": 2.5}),
        (Clip(path="a", fps=3.0, end=2.0), "frame", {"fps": 3.0, "end": 2.0}),
    ],
)
def test_a_record_says_the_part_and_the_rate(clip: Clip, kind: str, more: dict[str, float]) -> None:
    row = msgspec.to_builtins(video_r1_row(msgspec.structs.replace(a_choice("1"), clip=clip), NO_LABELS))
    assert (row["data_type"], row["video"]) == (kind, clip.path)
    assert {key: row[key] for key in ("start", "end", "fps") if key in row} == more


@pytest.mark.parametrize("export", Export)
@pytest.mark.parametrize(
    ("clip", "what"),
    [(Clip(path="a.mp4", start=1.0), "a part of its clip"), (Clip(path="a", fps=3.0), "a folder of frames")],
)
def test_an_export_that_cannot_say_a_part_is_refused(export: Export, clip: Clip, what: str) -> None:
    question = msgspec.structs.replace(a_choice("1"), clip=clip)
    with pytest.raises(VtError, match=rf"--export {export.value}: question 1 is about {what} \(a.*leave --export out, or cut"):
        export.row(question, NO_LABELS)
    assert export.row(a_choice("1"), NO_LABELS)


def test_a_clip_at_its_full_length_is_a_part_like_any_other(tmp_path: Path) -> None:
    path = small_film(tmp_path / "clip.mp4", n=24, fps=8)
    whole, part = read_clip(path), read_clip(Footage(path, 0.0, 3.0))
    np.testing.assert_array_equal(whole.frames, part.frames)
    assert whole[1:] == part[1:]


def test_a_training_row_names_the_part_and_lacks_its_clip_like_any_other(thirds: Curated, tmp_path: Path) -> None:
    stage = make_stage(Stage.GRPO, {})
    questions = thirds.questions("dev")
    assert [row["prompt"].clip for row in training_rows(thirds, questions, stage)] == footage(thirds)
    (tmp_path / "red").touch()  # a file where a folder of frames should be
    with pytest.raises(
        VtError, match=r"12 of 12 training questions lack their clip or image, the first is .*film\.mkv \[0 s, 1\.28 s\)"
    ):
        training_rows(open_curated(thirds.folder, tmp_path), questions, stage)
