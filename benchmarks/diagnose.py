"""How many questions a second a checkpoint answers, against the plain loop that most evaluators run.

The plain loop asks one question at a time and decodes the clip anew for each; the weights, precision, attention, frames and
reply lengths are the same on both sides, and both run in this process, one after the other. Every reply has exactly --tokens
tokens, since a randomly initialised model never ends one by itself.

    python benchmarks/diagnose.py                                    # CPU, the tiny model
    python benchmarks/diagnose.py --shape 3b --frames 32             # one GPU, Qwen2.5-VL-3B's shape with random weights
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

from videothinker import mcq, store
from videothinker.curated import Curated, Manifest, open_curated
from videothinker.diagnose.checkpoint_answerer import CheckpointAnswerer
from videothinker.diagnose.engines.transformers import TransformersEngine
from videothinker.diagnose.feed import QuestionFeed
from videothinker.diagnose.prompts import chats, write_prompts
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.frames import read_clip
from videothinker.models import tiny
from videothinker.models.load import Loaded
from videothinker.models.vision import batch_windows
from videothinker.records import Category, CuratedQuestion, Rule

QUESTIONS_A_CLIP = 2  # CLEVRER: 18,473 counterfactual questions about 10,000 scenes


def write_clip(path: Path, seed: int) -> None:
    """A clip of CLEVRER's size and length, 480 x 320, 128 frames, with five drifting squares on a patterned floor."""
    import av

    rng = np.random.default_rng(seed)
    floor = np.repeat(np.repeat(rng.integers(100, 140, (40, 60, 3), dtype=np.uint8), 8, 0), 8, 1)
    start, speed = rng.integers(0, 250, (5, 2)), rng.integers(-1, 2, (5, 2))
    colours = rng.integers(0, 255, (5, 3))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 480, 320, "yuv420p"
        for t in range(128):
            frame = floor.copy()
            for (y, x), colour in zip(start + t * speed, colours, strict=True):
                frame[max(y, 0) : max(y + 40, 0), max(x, 0) : max(x + 40, 0)] = colour
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def write_data(folder: Path, n_clips: int) -> Curated:
    """A curated folder of drawn clips with two questions each."""
    (folder / "videos").mkdir(parents=True)
    questions = []
    for scene in range(n_clips):
        write_clip(folder / "videos" / f"{scene}.mp4", scene)
        for qid in range(QUESTIONS_A_CLIP):
            options = [f"The red metal cube and the {c} rubber sphere collide" for c in ("gray", "blue", "cyan", "green")]
            questions.append(
                CuratedQuestion(
                    problem_id=len(questions) + 1,
                    problem="Without the purple metal cylinder, what will " + "not " * qid + "happen?",
                    options=tuple(mcq.option_line(i, text) for i, text in enumerate(options)),
                    solution=mcq.solution(("A",)),
                    video=f"{scene}.mp4",
                    path=f"{scene}.mp4",
                    question_id=f"{scene}:{qid}",
                    scene_index=scene,
                    category=Category.INFERENTIAL,
                    observer=(),
                    gold=("A",),
                    removed_object=0,
                    negated=bool(qid),
                    any_option=Category.INFERENTIAL,
                    correct_option=Category.INFERENTIAL,
                    oracle=Category.INFERENTIAL,
                )
            )
    store.write_json(folder / "dev.json", questions)
    store.write_json(
        folder / "manifest.json",
        Manifest(rule=Rule.ORACLE, seed=0, videos_root="videos", splits={"dev": len(questions)}),
    )
    return open_curated(folder)


def random_3b(folder: Path, settings: DiagnosisSettings) -> Loaded:
    """Qwen2.5-VL-3B-Instruct's shape (its config.json) with random bfloat16 weights and the tiny model's tokenizer."""
    config = AutoConfig.from_pretrained(tiny.build(folder))
    text, vision = config.text_config, config.vision_config
    text.vocab_size, text.hidden_size, text.intermediate_size, text.num_hidden_layers = 151_936, 2048, 11_008, 36
    text.num_attention_heads, text.num_key_value_heads, text.max_position_embeddings = 16, 2, 128_000
    text.rope_parameters = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]}
    text.layer_types = ["full_attention"] * 36
    text.max_window_layers = 36
    vision.depth, vision.hidden_size, vision.intermediate_size, vision.num_heads, vision.out_hidden_size = (
        32,
        1280,
        3420,
        16,
        2048,
    )
    vision.fullatt_block_indexes = [7, 15, 23, 31]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModelForImageTextToText.from_config(
            config, dtype=torch.bfloat16, attn_implementation=settings.attention.replace("auto", "sdpa")
        )
    return Loaded(model.eval(), AutoProcessor.from_pretrained(folder), "random weights in Qwen2.5-VL-3B's shape", False)


def plain_loop(loaded: Loaded, curated: Curated, questions: list[CuratedQuestion], settings: DiagnosisSettings) -> list[float]:
    """Seconds a question: decode the clip, run the processor on the CPU, generate for this one question."""
    seconds = []
    for question in questions:
        start = time.perf_counter()
        path = curated.clip(question)
        assert path is not None
        clip = read_clip(path, n_frames=settings.n_frames)
        content = [
            {"type": "video"},
            {"type": "text", "text": mcq.render_prompt(question.problem, question.options, mcq.Prompt.COT)},
        ]
        text = loaded.processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
        )
        inputs = loaded.processor(
            text=[text],
            videos=[clip.frames],
            video_metadata=[clip.metadata()],
            do_sample_frames=False,
            size={"shortest_edge": 4 * 28 * 28, "longest_edge": settings.max_pixels},
            return_tensors="pt",
        ).to(loaded.model.device)
        inputs.pop("video_metadata", None)
        ids = loaded.model.generate(**inputs, do_sample=False, max_new_tokens=settings.max_new_tokens)
        loaded.processor.batch_decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        seconds.append(time.perf_counter() - start)
    return seconds


def ours(loaded: Loaded, curated: Curated, questions: list[CuratedQuestion], settings: DiagnosisSettings) -> dict[str, Any]:
    """Questions a second of a `CheckpointAnswerer`, and where its time went; clips are decoded, not taken from a cache."""
    checkpoint = CheckpointAnswerer(TransformersEngine(loaded, settings), curated=curated, settings=settings)
    keep_going(loaded, settings)
    start = time.perf_counter()
    n = sum(answer.reply is not None for answer in checkpoint.answer(questions))
    seconds = time.perf_counter() - start
    assert n == len(questions)
    return {
        "batch_size": settings.batch_size,
        "n_questions": n,
        "seconds": seconds,
        "questions_per_second": n / seconds,
        "seconds_by_stage": dict(checkpoint.seconds),
        "fed": checkpoint.describe()["fed"],
        **({"peak_gib": torch.cuda.max_memory_allocated() / 2**30} if torch.cuda.is_available() else {}),
    }


def keep_going(loaded: Loaded, settings: DiagnosisSettings) -> None:
    loaded.model.generation_config.min_new_tokens = settings.max_new_tokens


def vision_seconds(
    loaded: Loaded, curated: Curated, question: CuratedQuestion, settings: DiagnosisSettings, n_at_once: int
) -> float:
    """Median seconds a clip that the vision tower takes, given `n_at_once` clips."""
    path = curated.clip(question)
    assert path is not None
    clip = read_clip(path, n_frames=settings.n_frames)
    feed = QuestionFeed(loaded, settings)
    inputs = feed.process(chats(loaded.processor, [question], settings.prompt)[0], feed.show(clip))
    pixels = torch.cat([inputs["pixel_values_videos"].to(loaded.model.device)] * n_at_once)
    grid = torch.cat([inputs["video_grid_thw"].to(loaded.model.device)] * n_at_once)
    seconds = []
    for _ in range(5):
        synchronize()
        start = time.perf_counter()
        with torch.inference_mode():
            loaded.model.base_model.get_video_features(pixels, grid, return_dict=True)
        synchronize()
        seconds.append((time.perf_counter() - start) / n_at_once)
    return statistics.median(seconds)


def stages(loaded: Loaded, curated: Curated, questions: list[CuratedQuestion], settings: DiagnosisSettings) -> dict[str, float]:
    """Of one batch's generation: seconds to the first token and for each further one, and how many of them the GPU works."""
    from torch.profiler import ProfilerActivity, profile

    engine, feed, rows = TransformersEngine(loaded, settings), QuestionFeed(loaded, settings), []
    for question in questions[: settings.batch_size]:
        path = curated.clip(question)
        assert path is not None
        shown = feed.show(read_clip(path, n_frames=settings.n_frames))
        rows += feed.rows([(shown, [question])], write_prompts(loaded.processor, [question], settings.prompt))

    def generate(n: int) -> float:
        loaded.model.generation_config.min_new_tokens = n
        engine._settings = msgspec.structs.replace(settings, max_new_tokens=n)
        synchronize()
        start = time.perf_counter()
        assert len(engine.reply(rows)) == len(rows)
        synchronize()
        return time.perf_counter() - start

    def busy(n: int) -> float:
        with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as trace:
            generate(n)
        spans = sorted((e.time_range.start, e.time_range.end) for e in trace.events() if "CUDA" in str(e.device_type))
        total, end = 0.0, 0.0
        for begin, finish in spans:
            total += max(0.0, finish - max(begin, end))
            end = max(end, finish)
        return total / 1e6

    def token_seconds() -> float:
        return (generate(33) - generate(1)) / 32

    generate(2)
    found = {"first_token_seconds": generate(1), "token_seconds": token_seconds()}
    if torch.cuda.is_available():
        found["first_token_gpu_seconds"] = busy(1)
        found["token_gpu_seconds"] = (busy(9) - found["first_token_gpu_seconds"]) / 8
        loaded.model.generation_config.cache_implementation = None
        found["token_seconds_with_a_growing_cache"] = token_seconds()
    return found


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=["test", "tiny", "3b"], default="test")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--max-pixels", type=int, help="per frame; default 256*28*28 for 3b, else 24*28*28")
    parser.add_argument("--tokens", type=int, default=32, help="length of every reply")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--questions", type=int, default=64, help="for each batch size")
    parser.add_argument("--plain", type=int, default=8, help="questions that the plain loop answers")
    parser.add_argument("--stages", type=int, default=32, help="batch size for which generation is taken apart")
    parser.add_argument("--data", type=Path, help="where to keep the drawn clips, re-used if there")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        data = args.data or Path(scratch) / "data"
        n_clips = -(-args.questions // QUESTIONS_A_CLIP)
        curated = open_curated(data) if (data / "manifest.json").exists() else write_data(data, n_clips)
        questions = curated.questions("dev")[: args.questions]
        settings = DiagnosisSettings(
            engine="transformers",  # random weights never end a reply by themselves; only this engine can be made to go on
            split="dev",
            n_frames=args.frames,
            max_pixels=args.max_pixels or (256 if args.shape == "3b" else 25) * 28 * 28,
            max_new_tokens=args.tokens,
        )
        if args.shape == "3b":
            loaded = random_3b(Path(scratch) / "model", settings)
        else:
            ref = tiny.build(Path(scratch) / "model", size=args.shape)
            model = AutoModelForImageTextToText.from_pretrained(ref)
            loaded = Loaded(model.eval(), AutoProcessor.from_pretrained(ref), f"untaught tiny model, {args.shape}", False)
        TransformersEngine(loaded, settings)  # it sets the generation settings that both sides use,
        loaded.model.generation_config.cache_implementation = None  # but for the cache: a plain loop's grows
        keep_going(loaded, settings)
        plain_loop(loaded, curated, questions[:1], settings)  # warm up
        plain = plain_loop(loaded, curated, questions[: args.plain], settings)
        result: dict[str, Any] = {
            "shape": args.shape,
            "n_parameters": sum(weight.numel() for weight in loaded.model.parameters()),
            "device": torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads",
            "dtype": str(loaded.model.dtype),
            "attention": loaded.model.config._attn_implementation,
            "frames": args.frames,
            "tokens": args.tokens,
            "plain": {"n_questions": len(plain), "questions_per_second": 1 / statistics.mean(plain), "seconds": plain},
            "vision_seconds_a_clip": {"one window at a time": vision_seconds(loaded, curated, questions[0], settings, 1)},
            "ours": [],
        }
        batch_windows(loaded.model)
        for n in (1, 8):
            result["vision_seconds_a_clip"][f"windows in batches, {n} clips"] = vision_seconds(
                loaded, curated, questions[0], settings, n
            )
        for batch_size in args.batch_sizes:
            sized = msgspec.structs.replace(settings, batch_size=batch_size)
            row = ours(loaded, curated, questions, sized)
            row["times_plain"] = row["questions_per_second"] / result["plain"]["questions_per_second"]
            if batch_size == args.stages:
                row["stages"] = stages(loaded, curated, questions, sized)
            result["ours"].append(row)
            print(msgspec.json.format(msgspec.json.encode(row)).decode(), flush=True)
        print(f"plain loop: {result['plain']['questions_per_second']:.3f} questions/s")
        for row in result["ours"]:
            print(f"batch {row['batch_size']:4d}: {row['questions_per_second']:.3f} questions/s, {row['times_plain']:.1f} x")
        if args.out:
            store.write_json(args.out, {**result, "provenance": store.provenance()})


if __name__ == "__main__":
    main()
