"""What one CDPO step costs, by phase, beside a plain implementation of the same step.

    python benchmarks/train.py --shape 3b --clips curated/videos --out reports/benchmark-train.json

The model has Qwen2.5-VL's shape and random weights, so that its 8 replies run to the limit of 768 tokens: 16 frames of 252x364,
float32 weights and AdamW, bfloat16 autocast, gradient checkpointing, one question a step. Variants, each in a process of its
own on one GPU:

- ours: `vt train cdpo` as it is; ours-generate: the same with transformers' `generate`; lora: adapters on the language model
- plain: written the way the official trainer computes the step: every copy of a clip decoded and encoded, `generate`, and for
  policy and reference full-vocabulary log-probabilities of prompt and reply

`static` is what must lie in memory when the weights are updated: weights, gradients and Adam's state of the policy, weights of
the reference. `above` is the peak of the step less that. While replies are written there are no gradients yet, so that peak is
given as it is.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from videothinker import store
from videothinker.frames import read_clip
from videothinker.models import tiny
from videothinker.models.chat import chat
from videothinker.train import stages
from videothinker.train.clips import PromptEncoder

PHASES = ("decode", "generate", "score", "loss", "optimizer")
VARIANTS = ("plain", "ours-generate", "ours", "lora")
TEXT = (
    "Without the red metal cube, what will happen?\nOptions:\nA. The ball falls\nB. The cylinder stops\n"
    + "Think step by step. " * 8
)

SHAPES: dict[str, dict[str, Any]] = {
    "3b": {
        "text": {
            "vocab_size": 151_936,
            "hidden_size": 2048,
            "intermediate_size": 11_008,
            "num_hidden_layers": 36,
            "num_attention_heads": 16,
            "num_key_value_heads": 2,
            "max_position_embeddings": 32_768,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
        },
        "vision": {
            "depth": 32,
            "hidden_size": 1280,
            "intermediate_size": 3420,
            "num_heads": 16,
            "out_hidden_size": 2048,
            "fullatt_block_indexes": [7, 15, 23, 31],
            "window_size": 112,
            "tokens_per_second": 2,
        },
        "max_pixels": 128 * 28 * 28,
        "n_frames": 16,
        "new_tokens": 768,
    },
    "test": {
        "text": {
            "vocab_size": 4096,
            "hidden_size": 128,
            "intermediate_size": 256,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 8192,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 6, 6]},
        },
        "vision": {
            "depth": 2,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_heads": 4,
            "out_hidden_size": 128,
            "fullatt_block_indexes": [1],
            "window_size": 112,
            "tokens_per_second": 2,
        },
        "max_pixels": 24 * 28 * 28,
        "n_frames": 8,
        "new_tokens": 16,
    },
}


class Clock:
    """Seconds and peak memory of named phases; the GPU is waited for at both ends of each."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.peak: dict[str, int] = defaultdict(int)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        synchronize()
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        began = time.perf_counter()
        yield
        synchronize()
        self.seconds[name] += time.perf_counter() - began
        if torch.cuda.is_available():
            self.peak[name] = max(self.peak[name], torch.cuda.max_memory_allocated())

    def around(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.phase(name):
                return function(*args, **kwargs)

        return timed


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def make_model(shape: str, dtype: torch.dtype, seed: int) -> Any:
    """A randomly initialised model of the shape, on the GPU if there is one, speaking the tiny checkpoint's tokens."""
    from transformers import AutoConfig, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    base = AutoConfig.from_pretrained(CHECKPOINT)
    text, vision = dict(SHAPES[shape]["text"]), dict(SHAPES[shape]["vision"])
    text |= {name: getattr(base.text_config, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    names = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
    ids = {name: getattr(base, name) for name in names}
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=True, **ids)
    torch.manual_seed(seed)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = Qwen2_5_VLForConditionalGeneration._from_config(config, dtype=dtype, attn_implementation="sdpa")
    model.generation_config.eos_token_id = base.text_config.eos_token_id
    model.generation_config.pad_token_id = base.text_config.pad_token_id
    return model


CHECKPOINT = Path(tempfile.gettempdir()) / "benchmark-train-tokenizer"


def processor() -> Any:
    from transformers import AutoProcessor

    if not (CHECKPOINT / "config.json").exists():
        tiny.build(CHECKPOINT)
    return AutoProcessor.from_pretrained(CHECKPOINT, padding_side="left")


def settings(shape: str, variant: str, steps: int) -> stages.StageConfig:
    raw: dict[str, Any] = {
        "data": {"n_frames": SHAPES[shape]["n_frames"], "max_pixels": SHAPES[shape]["max_pixels"]},
        "objective": {"repulsion": 0.01},
        "rollouts": {
            "questions_per_step": 1,
            "max_new_tokens": SHAPES[shape]["new_tokens"],
            "engine": "transformers" if variant == "ours-generate" else "graphs",
        },
        "optimizer": {"steps": steps},
        "model": {"precision": "bf16" if torch.cuda.is_available() else "fp32"},
    }
    if variant == "lora":
        raw["lora"] = {"rank": 64}
    return stages.make_stage(stages.Stage.CDPO, raw)


def spread(completions: list[str], **_: Any) -> list[float]:
    """Rewards that differ within a group: random weights earn nothing."""
    return [float(i % 2) for i in range(len(completions))]


def run_ours(shape: str, variant: str, clip: Path, n_steps: int) -> tuple[list[dict[str, float]], Clock, int]:
    """The trainer itself, as `build.build_trainer` assembles it, around models made here."""
    from transformers import TrainerCallback

    from videothinker.models.checkpoint import Checkpoint
    from videothinker.train import build
    from videothinker.train.arguments import grpo_arguments
    from videothinker.train.data import ClipPrompt, TrainingRow
    from videothinker.train.rewards import Reward

    config = settings(shape, variant, n_steps + 1)
    prompts = processor()
    half = torch.bfloat16 if config.model.precision is stages.Precision.BF16 else torch.float32
    made = iter([make_model(shape, half if config.lora else torch.float32, 0), make_model(shape, half, 1)])
    build.load_full = lambda *_args: next(made)  # type: ignore[assignment]
    build.load_processor = lambda _: prompts  # type: ignore[assignment]
    row: TrainingRow = {"prompt": ClipPrompt(str(clip), TEXT), "question_id": "0:0", "gold": ["A"], "n_options": 3}
    clock = Clock()
    with tempfile.TemporaryDirectory() as out:
        args = grpo_arguments(config, Path(out))
        args.save_strategy = "no"
        nowhere = Checkpoint(Path(out), None)
        rewards = {"spread": Reward(spread, weight=1.0)}
        trainer = build.build_trainer(config, args, nowhere, nowhere, [row] * (n_steps + 1), rewards=rewards)
        trainer._encode = _Timed(trainer._encode, clock)
        trainer._generate_single_turn = clock.around("generate", trainer._generate_single_turn)
        trainer._score_with_reference = clock.around("score", trainer._score_with_reference)
        trainer.compute_loss = clock.around("loss", trainer.compute_loss)
        trainer.accelerator.backward = clock.around("loss", trainer.accelerator.backward)
        steps: list[dict[str, float]] = []

        class Steps(TrainerCallback):
            def on_step_begin(self, *_args: Any, **_kwargs: Any) -> None:
                clock.seconds.clear()
                clock.peak.clear() if not steps else None
                synchronize()
                self.began = time.perf_counter()

            def on_pre_optimizer_step(self, *_args: Any, **_kwargs: Any) -> None:
                synchronize()
                self.at = time.perf_counter()

            def on_optimizer_step(self, *_args: Any, **_kwargs: Any) -> None:
                synchronize()
                clock.seconds["optimizer"] = time.perf_counter() - self.at

            def on_step_end(self, *_args: Any, **_kwargs: Any) -> None:
                synchronize()
                steps.append({**clock.seconds, "total": time.perf_counter() - self.began})

        trainer.add_callback(Steps())
        trainer.train()
        static = static_bytes(trainer.model, trainer.ref_model)
    return steps, clock, static


class _Timed:
    """A PromptEncoder whose calls are timed."""

    def __init__(self, encoder: PromptEncoder, clock: Clock) -> None:
        self._encoder, self._clock = encoder, clock

    def __call__(self, prompts: Any, device: Any) -> Any:
        with self._clock.phase("decode"):
            return self._encoder(prompts, device)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)


def static_bytes(policy: Any, reference: Any) -> int:
    """Weights of both, and a float32 gradient and Adam's two moments for every trained weight."""
    found = sum(p.numel() * (p.element_size() + (12 if p.requires_grad else 0)) for p in policy.parameters())
    return found + (0 if reference is None else sum(p.numel() * p.element_size() for p in reference.parameters()))


def run_plain(shape: str, clip: Path, n_steps: int) -> tuple[list[dict[str, float]], Clock, int]:
    """The same step, computed plainly."""
    config = settings(shape, "plain", n_steps)
    prompts, clock, group = processor(), Clock(), config.rollouts.n_replies
    policy = make_model(shape, torch.float32, 0)
    half = torch.bfloat16 if torch.cuda.is_available() else torch.float32
    reference = make_model(shape, half, 1).eval().requires_grad_(False)
    policy.gradient_checkpointing_enable({"use_reentrant": False})
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-6, fused=torch.cuda.is_available())
    device = next(policy.parameters()).device
    size = {"shortest_edge": min(100_352, config.data.max_pixels), "longest_edge": config.data.max_pixels}
    autocast = torch.autocast(device.type, dtype=torch.bfloat16, enabled=torch.cuda.is_available())
    steps = []
    for _ in range(n_steps + 1):
        clock.seconds.clear()
        if not steps:
            clock.peak.clear()
        synchronize()
        began = time.perf_counter()
        with clock.phase("decode"):
            films = [read_clip(clip, n_frames=config.data.n_frames) for _ in range(group)]
            inputs = prompts(
                text=[chat(prompts, TEXT)] * group,
                videos=[film.frames for film in films],
                video_metadata=[film.metadata() for film in films],
                do_sample_frames=False,
                size=size,
                cap_pixels_per_frame=False,
                return_tensors="pt",
            ).to(device)
        with clock.phase("generate"), torch.no_grad(), autocast:
            policy.eval()
            ids = policy.generate(
                **inputs,
                max_new_tokens=config.rollouts.max_new_tokens,
                do_sample=True,
                top_k=0,
                suppress_tokens=[policy.config.image_token_id, policy.config.video_token_id],
            )
            policy.train()
        n_prompt = inputs["input_ids"].size(1)
        seen = {
            name: value for name, value in inputs.items() if name not in ("input_ids", "attention_mask", "mm_token_type_ids")
        }
        kinds = torch.cat([inputs["mm_token_type_ids"], torch.zeros_like(ids[:, n_prompt:])], dim=1)

        def logps(model: Any, ids: torch.Tensor = ids, seen: Any = seen, kinds: torch.Tensor = kinds) -> torch.Tensor:
            with autocast:
                logits = model(input_ids=ids, mm_token_type_ids=kinds, **seen).logits[:, :-1]
            rows = [
                torch.gather(row.log_softmax(-1), 1, targets[:, None]).squeeze(1)
                for row, targets in zip(logits, ids[:, 1:], strict=True)
            ]
            return torch.stack(rows)

        with clock.phase("score"), torch.no_grad():
            theirs = logps(reference)[:, n_prompt - 1 :]
        with clock.phase("loss"):
            ours = logps(policy)[:, n_prompt - 1 :]
            rewards = torch.tensor(spread([None] * group), device=device)
            advantages = (rewards - rewards.mean()) / (rewards.std() + 1e-4)
            d = (theirs - ours).clamp(-11, 11)
            term = torch.exp(ours - ours.detach()) * advantages[:, None] + 0.01 * (d.exp() - d - 1)
            (-term.mean(1).mean()).backward()
        with clock.phase("optimizer"):
            torch.nn.utils.clip_grad_norm_(policy.parameters(), 20.0)
            optimizer.step()
            optimizer.zero_grad()
        steps.append({**clock.seconds, "total": time.perf_counter() - began})
    return steps, clock, static_bytes(policy, reference)


def measure(shape: str, variant: str, clip: Path, n_steps: int) -> dict[str, Any]:
    """One variant; the first step warms up and is left out."""
    run = run_plain if variant == "plain" else run_ours
    arguments = (shape, clip, n_steps) if variant == "plain" else (shape, variant, clip, n_steps)
    steps, clock, static = run(*arguments)  # type: ignore[operator]
    seconds = {name: statistics.median(step.get(name, 0.0) for step in steps[1:]) for name in (*PHASES, "total")}
    return {
        "variant": variant,
        "n_steps": len(steps) - 1,
        "seconds": seconds,
        "outside_generation": seconds["total"] - seconds["generate"],
        "static_bytes": static,
        "peak_bytes": {"generate": clock.peak["generate"], "rest": max(clock.peak[n] for n in ("decode", "score", "loss"))},
    }


def above_static(result: dict[str, Any]) -> int:
    """Bytes; at least 1, so that there is a ratio on a CPU, where nothing is measured."""
    return max(max(result["peak_bytes"].values()) - result["static_bytes"], 1)


def table(results: list[dict[str, Any]]) -> str:
    """The results as Markdown, with ratios to `plain` where it was measured."""
    gib = 2**30
    lines = [
        f"| variant | {' | '.join(PHASES)} | step | outside generation | static | peak, writing | peak, rest | above |",
        f"| --- {'| --: ' * 11}|",
    ]
    plain = next((result for result in results if result["variant"] == "plain"), None)
    for result in results:
        s, peak = result["seconds"], result["peak_bytes"]
        outside, total = f"{result['outside_generation']:.2f} s", f"{s['total']:.2f} s"
        above = f"{above_static(result) / gib:.1f} GiB"
        if plain is not None and result is not plain:
            outside += f" ({result['outside_generation'] / plain['outside_generation']:.2f}x)"
            total += f" ({s['total'] / plain['seconds']['total']:.2f}x)"
            above += f" ({above_static(result) / above_static(plain):.2f}x)"
        phases = " | ".join(f"{s[name]:.2f} s" for name in PHASES)
        lines.append(
            f"| {result['variant']} | {phases} | {total} | {outside} | {result['static_bytes'] / gib:.1f} GiB"
            f" | {peak['generate'] / gib:.1f} GiB | {peak['rest'] / gib:.1f} GiB | {above} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=sorted(SHAPES), default="test")
    parser.add_argument("--clips", type=Path, required=True, help="a clip, or a folder of clips of which the first is taken")
    parser.add_argument("--steps", type=int, default=2, help="timed steps a variant")
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--out", type=Path, help="write JSON here and the table beside it as Markdown")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    clip = options.clips if options.clips.is_file() else sorted(options.clips.rglob("*.mp4"))[0]
    if options.one:
        print("RESULT " + json.dumps(measure(options.shape, options.one, clip, options.steps)))
        return
    results = []
    for variant in options.variants.split(","):
        command = [sys.executable, __file__, "--shape", options.shape, "--clips", str(clip), "--steps", str(options.steps)]
        done = subprocess.run([*command, "--one", variant], capture_output=True, text=True, check=False)
        found = [line.removeprefix("RESULT ") for line in done.stdout.splitlines() if line.startswith("RESULT ")]
        if not found:
            print(f"{variant}: failed\n{done.stderr[-3000:]}")
            continue
        results.append(json.loads(found[0]))
        print(table(results), flush=True)
        if options.out:
            record = {"shape": options.shape, "results": results, **environment(options.shape, options.steps)}
            store.write_json(options.out, record)
            store.write_text(options.out.with_suffix(".md"), page(record))


def environment(shape: str, n_steps: int) -> dict[str, Any]:
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    command = f"python benchmarks/train.py --shape {shape} --steps {n_steps}"
    return {"gpu": gpu, "torch": str(torch.__version__), "provenance": store.provenance() | {"command": command}}


def page(record: dict[str, Any]) -> str:
    """The report: what was measured, where, and the table."""
    made = record["provenance"]
    versions = ", ".join(f"{name} {made['versions'][name]}" for name in ("torch", "transformers", "trl"))
    return f"""# What one CDPO step costs, by phase

Made by `{made["command"]}` on {made["created"][:10]}: {record["gpu"] or "a CPU"}, {versions}. Medians of
{record["results"][0]["n_steps"]} steps after one to warm up; in brackets the ratio to `plain`. The script explains variants and
columns are.

{table(record["results"])}
"""


if __name__ == "__main__":
    main()
