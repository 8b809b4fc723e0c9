"""What one CDPO step costs, by phase, beside a plain implementation of the same step.

    python benchmarks/train.py                                                              # on a CPU, a tiny model
    python benchmarks/train.py --shape 3b --clips curated/videos --out reports/benchmark-train.json      # on a GPU

The model has random weights, so that its replies run to the limit: float32 weights and AdamW, on a GPU bfloat16 autocast,
gradient checkpointing, one question per step. Variants, each in a process of its own:

- ours: `vt train cdpo`, the gradients' ratio not measured; ours-generate: the same with transformers' `generate`; ours-ratio:
  the same as ours, the ratio measured at every step; ours-blank: the bias model scores on a blank clip; ours-self: the policy
  does; lora: adapters on the language model
- plain: written the way the official trainer computes the step: every copy of a clip decoded and encoded, `generate`, and for
  policy and reference full-vocabulary log-probabilities of prompt and reply

`static` is what must lie in memory when the weights are updated: weights, gradients and Adam's state of the policy, weights of
the reference. `above` is the peak of the step less that. While replies are written there are no gradients yet, so that peak is
given as it is. Memory is measured on a GPU alone. Only ratios within one run are claims.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import results
import shapes
import torch
from accelerate import Accelerator
from transformers import TrainerCallback

from videothinker import answers, store
from videothinker.footage import Footage
from videothinker.frames import read_clip
from videothinker.models.chat import chat
from videothinker.models.checkpoint import Checkpoint, load_full, load_processor
from videothinker.records import Form
from videothinker.train.arguments import grpo_arguments
from videothinker.train.build import build_trainer
from videothinker.train.cdpo import CDPOTrainer
from videothinker.train.clips import PromptEncoder
from videothinker.train.data import ClipPrompt, TrainingRow
from videothinker.train.objective import Reference
from videothinker.train.rewards import Reward
from videothinker.train.stage_files import make_stage
from videothinker.train.stages import Stage, StageConfig

VARIANTS = ("plain", "ours-generate", "ours", "ours-ratio", "ours-blank", "ours-self", "lora")
PHASES = ("decode", "generate", "score", "loss", "optimizer")
TEXT = answers.render_prompt(
    "Without the red metal cube, what will happen?",
    ("The blue rubber sphere and the gray metal cylinder collide", "The gray metal cylinder and the green cube collide"),
    answers.Style.COT,
)
SAMPLE = Path(__file__).parents[1] / "data" / "sample" / "video_train"
ON_GPU = torch.cuda.is_available()
GIB = 2**30


class Clock:
    """Seconds and peak memory of the phases of a step; the GPU is waited for at both ends of each."""

    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []
        """Seconds of each step by phase, and in "total"."""
        self.peak: dict[str, int] = defaultdict(int)
        """Bytes, the most of any step but the first."""
        self._seconds: dict[str, float] = defaultdict(float)
        self._began = 0.0

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """What happens inside belongs to the phase; nothing is measured in two phases at once."""
        began = now()
        if ON_GPU:
            torch.cuda.reset_peak_memory_stats()
        yield
        self._seconds[name] += now() - began
        if ON_GPU and self.steps:
            self.peak[name] = max(self.peak[name], torch.cuda.max_memory_allocated())

    def around(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, every call of which belongs to the phase."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.phase(name):
                return function(*args, **kwargs)

        return timed

    def begin(self) -> None:
        """A step begins."""
        self._seconds.clear()
        self._began = now()

    def end(self) -> None:
        """The step is over."""
        total = now() - self._began
        self.steps.append({**dict.fromkeys(PHASES, 0.0), **self._seconds, "total": total})


def now() -> float:
    """Seconds on the clock once the GPU has done all that it was told."""
    if ON_GPU:
        torch.cuda.synchronize()
    return time.perf_counter()


class Step(TrainerCallback):
    """Tells a clock where the trainer's steps begin and end, and what the optimizer takes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._optimizer = ExitStack()

    def on_step_begin(self, *_args: Any, **_kwargs: Any) -> None:
        self._clock.begin()

    def on_pre_optimizer_step(self, *_args: Any, **_kwargs: Any) -> None:
        self._optimizer.enter_context(self._clock.phase("optimizer"))

    def on_optimizer_step(self, *_args: Any, **_kwargs: Any) -> None:
        self._optimizer.close()

    def on_step_end(self, *_args: Any, **_kwargs: Any) -> None:
        self._clock.end()


class Task(NamedTuple):
    """What every variant computes."""

    start: Checkpoint
    bias: Checkpoint
    clip: Path
    n_steps: int
    """The first of them included, which warms up."""
    config: StageConfig


def spread(completions: list[str], **_: Any) -> list[float]:
    """Rewards that differ within a group: random weights earn nothing."""
    return [float(i % 2) for i in range(len(completions))]


def run_ours(task: Task, clock: Clock) -> int:
    """Time the trainer that `vt train cdpo` builds; returns its static bytes. A phase is a method, where it has one."""
    phases: list[tuple[Any, str, str]] = [
        (PromptEncoder, "__call__", "decode"),
        (CDPOTrainer, "_generate_single_turn", "generate"),
        (CDPOTrainer, "_score_with_reference", "score"),
        (CDPOTrainer, "compute_loss", "loss"),
        (Accelerator, "backward", "loss"),
    ]
    row: TrainingRow = {
        "prompt": ClipPrompt(Footage(task.clip), TEXT),
        "question_id": "0:0",
        "gold": ["A"],
        "n_options": 2,
        "form": Form.LETTERS,
        "style": answers.Style.COT,
    }
    with tempfile.TemporaryDirectory() as out, ExitStack() as patches:
        for owner, name, phase in phases:
            patches.enter_context(mock.patch.object(owner, name, clock.around(phase, getattr(owner, name))))
        arguments = grpo_arguments(task.config, Path(out))
        arguments.save_strategy = "no"
        rewards = {"spread": Reward(spread, weight=1.0)}
        reference = None if task.config.objective.reference is Reference.SELF else task.bias
        trainer = build_trainer(task.config, arguments, task.start, reference, [row] * task.n_steps, rewards=rewards)
        trainer.add_callback(Step(clock))
        trainer.train()
    return static_bytes(trainer.model, trainer.reference)


def run_plain(task: Task, clock: Clock) -> int:
    """The same steps, computed plainly; returns the static bytes."""
    prompts, data, rollouts = load_processor(task.start), task.config.data, task.config.rollouts
    device = torch.device("cuda" if ON_GPU else "cpu")
    policy = load_full(task.start, torch.float32, "sdpa").to(device).train()
    policy.gradient_checkpointing_enable({"use_reentrant": False})
    reference = load_full(task.bias, torch.bfloat16 if ON_GPU else torch.float32, "sdpa").to(device).eval()
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-6, fused=ON_GPU)
    autocast = torch.autocast(device.type, dtype=torch.bfloat16, enabled=ON_GPU)
    placeholders = [policy.config.image_token_id, policy.config.video_token_id]
    size = {"shortest_edge": min(100_352, data.max_pixels), "longest_edge": data.max_pixels}

    def logps(model: Any, ids: torch.Tensor, kinds: torch.Tensor, seen: dict[str, torch.Tensor]) -> torch.Tensor:
        """(B, L - 1): the log-probability of every token but the first, over the whole vocabulary."""
        with autocast:
            logits = model(input_ids=ids, mm_token_type_ids=kinds, **seen).logits[:, :-1]
        rows = [
            torch.gather(row.log_softmax(-1), 1, targets[:, None]).squeeze(1)
            for row, targets in zip(logits, ids[:, 1:], strict=True)
        ]
        return torch.stack(rows)

    for _ in range(task.n_steps):
        clock.begin()
        with clock.phase("decode"):
            films = [read_clip(task.clip, n_frames=data.n_frames) for _ in range(rollouts.n_replies)]
            inputs = prompts(
                text=[chat(prompts, TEXT)] * rollouts.n_replies,
                videos=[film.frames for film in films],
                video_metadata=[film.metadata() for film in films],
                do_sample_frames=False,
                size=size,
                cap_pixels_per_frame=False,
                return_tensors="pt",
            ).to(device)
            inputs.pop("video_metadata", None)
        with clock.phase("generate"), torch.no_grad(), autocast:
            policy.eval()
            ids = policy.generate(
                **inputs, max_new_tokens=rollouts.max_new_tokens, do_sample=True, top_k=0, suppress_tokens=placeholders
            )
            policy.train()
        kinds = inputs.pop("mm_token_type_ids")
        n_prompt = kinds.size(1)
        kinds = torch.cat([kinds, torch.zeros_like(ids[:, n_prompt:])], dim=1)  # 0: a reply shows no clip
        seen = {name: value for name, value in inputs.items() if name not in ("input_ids", "attention_mask")}
        with clock.phase("score"), torch.no_grad():
            theirs = logps(reference, ids, kinds, seen)[:, n_prompt - 1 :]
        with clock.phase("loss"):
            ours = logps(policy, ids, kinds, seen)[:, n_prompt - 1 :]
            rewards = torch.tensor(spread([""] * rollouts.n_replies), device=device)
            advantages = (rewards - rewards.mean()) / (rewards.std() + 1e-4)
            d = (theirs - ours).clamp(-11, 11)
            term = torch.exp(ours - ours.detach()) * advantages[:, None] + 0.01 * (d.exp() - d - 1)
            (-term.mean(1).mean()).backward()
        with clock.phase("optimizer"):
            torch.nn.utils.clip_grad_norm_(policy.parameters(), 20.0)
            optimizer.step()
            optimizer.zero_grad()
        clock.end()
    return static_bytes(policy, reference.requires_grad_(False))


def static_bytes(policy: Any, reference: Any) -> int:
    """Weights of both, and a float32 gradient and Adam's two moments for every trained weight."""
    found = sum(p.numel() * (p.element_size() + (12 if p.requires_grad else 0)) for p in policy.parameters())
    return found + (0 if reference is None else sum(p.numel() * p.element_size() for p in reference.parameters()))


def measure(variant: str, task: Task) -> dict[str, Any]:
    """One variant; the first step warms up and is left out."""
    clock = Clock()
    static = (run_plain if variant == "plain" else run_ours)(task, clock)
    steps = clock.steps[1:]
    seconds = {name: statistics.median(step[name] for step in steps) for name in (*PHASES, "total")}
    return {
        "variant": variant,
        "n_steps": len(steps),
        "seconds": seconds,
        "outside_generation": seconds["total"] - seconds["generate"],
        "static_bytes": static,
        "peak_bytes": {"generate": clock.peak["generate"], "rest": max(clock.peak[n] for n in ("decode", "score", "loss"))},
    }


def settings(variant: str, options: argparse.Namespace) -> StageConfig:
    """The settings of `vt train cdpo` that a variant measures."""
    large = options.shape == shapes.LARGE
    raw: dict[str, Any] = {
        "data": {"n_frames": options.frames, "max_pixels": options.max_pixels or (128 if large else 24) * 28 * 28},
        "objective": {"repulsion": 0.01, "log_gradient_ratio_every": 1 if variant == "ours-ratio" else 0},
        "rollouts": {
            "n_replies": options.replies,
            "questions_per_step": 1,
            "max_new_tokens": options.tokens or (768 if large else 16),
            "engine": "transformers" if variant == "ours-generate" else "graphs",
        },
        "optimizer": {"steps": options.steps + 1},
        "model": {"precision": "auto"},
    }
    if variant in ("ours-blank", "ours-self"):
        raw["objective"] |= {"reference": "self" if variant == "ours-self" else "bias", "reference_clip": "blank"}
    if variant == "lora":
        raw["lora"] = {"rank": 64}
    return make_stage(Stage.CDPO, raw)


def memory(row: dict[str, Any], plain: dict[str, Any] | None) -> list[str]:
    """The cells of the table about memory; dashes on a CPU, where no peak is measured."""
    peak = row["peak_bytes"]
    if not any(peak.values()):
        return [f"{row['static_bytes'] / GIB:.1f} GiB", "-", "-", "-"]
    above = f"{above_static(row) / GIB:.1f} GiB"
    if plain is not None and row is not plain:
        above += f" ({above_static(row) / above_static(plain):.2f}x)"
    return [*(f"{n_bytes / GIB:.1f} GiB" for n_bytes in (row["static_bytes"], peak["generate"], peak["rest"])), above]


def above_static(row: dict[str, Any]) -> int:
    """The bytes of the highest peak that are not static; at least 1, so that there is a ratio."""
    return max(max(row["peak_bytes"].values()) - row["static_bytes"], 1)


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown, with ratios to `plain` where it was measured."""
    lines = [
        f"| variant | {' | '.join(PHASES)} | step | outside generation | static | peak, writing | peak, rest | above |",
        f"| --- {'| --: ' * 11}|",
    ]
    plain = next((row for row in rows if row["variant"] == "plain"), None)
    for row in rows:
        s = row["seconds"]
        outside, total = f"{row['outside_generation']:.2f} s", f"{s['total']:.2f} s"
        if plain is not None and row is not plain:
            outside += f" ({row['outside_generation'] / plain['outside_generation']:.2f}x)"
            total += f" ({s['total'] / plain['seconds']['total']:.2f}x)"
        phases = (f"{s[name]:.2f} s" for name in PHASES)
        lines.append(f"| {' | '.join([row['variant'], *phases, total, outside, *memory(row, plain)])} |")
    return "\n".join(lines)


def page(record: dict[str, Any]) -> str:
    """The report: what was measured, where, and the table."""
    made = results.provenance()
    versions = ", ".join(f"{name} {made['versions'][name]}" for name in ("torch", "transformers", "trl"))
    return f"""# What one CDPO step costs, by phase

Made by `{made["command"]}` on {made["created"][:10]}: {record["device"]}, {versions}. Medians of
{record["rows"][0]["n_steps"]} steps after one to warm up; in brackets the ratio to `plain`. The script says what variants
and columns are.

{table(record["rows"])}
"""


def in_processes(variants: list[str], models: Path) -> list[dict[str, Any]]:
    """Measure each variant by a call of this script for it alone, so that none finds memory in pieces.

    A variant that fails, as one that does not fit on the GPU does, is named and left out.
    """
    found = []
    for variant in variants:
        out = models / f"{variant}.json"
        command = [sys.executable, __file__, *sys.argv[1:], "--models", str(models), "--variants", variant, "--out", str(out)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{variant}: failed\n{done.stderr[-3000:]}", file=sys.stderr)
        else:
            found += store.read_json(out, dict[str, Any])["rows"]
            print(f"{variant}: {found[-1]['seconds']['total']:.2f} s per step", file=sys.stderr)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=shapes.SHAPES, default="test", help="of the model, whose weights are random")
    parser.add_argument("--clips", type=Path, default=SAMPLE, help="a clip, or a folder of clips of which the first is taken")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--max-pixels", type=int, help="of one frame; default 128*28*28 for 3b, else 24*28*28")
    parser.add_argument("--tokens", type=int, help="length of a reply; default 768 for 3b, else 16")
    parser.add_argument("--replies", type=int, default=8, help="to the one question of a step")
    parser.add_argument("--steps", type=int, default=2, help="timed steps of each variant")
    parser.add_argument("--variants", default=",".join(VARIANTS), help="some of them, with commas between")
    parser.add_argument("--models", type=Path, help="folder in which to keep the random models, used again if they are there")
    parser.add_argument(
        "--out", type=Path, help="also write the numbers to this JSON file, and the table beside it as Markdown"
    )
    options = parser.parse_args()
    variants = options.variants.split(",")
    if unknown := [name for name in variants if name not in VARIANTS]:
        parser.error(f"--variants {unknown[0]}: expected some of {', '.join(VARIANTS)}")
    with tempfile.TemporaryDirectory() as scratch:
        models = options.models or Path(scratch)
        for seed, name in enumerate(("start", "bias")):
            shapes.build(models / name, options.shape, seed=seed)
        if len(variants) > 1:
            found = in_processes(variants, models)
        else:
            start, bias = (Checkpoint(models / name, None) for name in ("start", "bias"))
            clip = options.clips if options.clips.is_file() else sorted(options.clips.rglob("*.mp4"))[0]
            found = [measure(variants[0], Task(start, bias, clip, options.steps + 1, settings(variants[0], options)))]
    if not found:
        raise SystemExit("error: no variant could be measured")
    print(table(found))
    results.write_rows(options.out, options, found)
    if options.out is not None:
        store.write_text(options.out.with_suffix(".md"), page({"rows": found, "device": results.device()}))


if __name__ == "__main__":
    main()
