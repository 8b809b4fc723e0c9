"""What stands under the options in `--help` of the stages of `vt train`: examples, launching, and what lies in OUT."""

_LAUNCH = """
[bold]Several GPUs or machines[/bold]

  accelerate launch --config_file configs/accelerate/ddp.yaml -m videothinker train {stage} ...

[bold]What lies in OUT[/bold]

  a checkpoint (for LoRA an adapter), run.json, metrics.jsonl, curves.html, completions.parquet, checkpoint-N/ to resume
  from{more}
"""

_CHOICE = """
[bold]On chosen questions[/bold]

  ... --where "category = 'inferential'"                  a column of questions.parquet, or the labels' category

  ... --labels probe.parquet --where "blind < 0.5"        or a further column of a label file
"""

BIAS = """[bold]Examples[/bold]

  vt train bias --config configs/bias-3b.toml --data curated --model Qwen/Qwen2.5-VL-3B-Instruct --out runs/bias

  vt train bias --config configs/bias-3b.toml --data curated --model Qwen/Qwen2.5-VL-3B-Instruct --out x --dry-run

[bold]Without a collision log[/bold]

  ... --labels probe.parquet                              observational by what a probe has found
""" + _LAUNCH.format(stage="bias", more=", gate.json")

CDPO = (
    """[bold]Examples[/bold]

  vt train cdpo --config configs/cdpo-3b.toml --data curated --model Qwen/Qwen2.5-VL-3B-Instruct --bias-model runs/bias
  --out runs/cdpo

[bold]The ablations of the paper[/bold]

  ... --set objective.direction=attract

  ... --set objective.reference=start          repels from its own start: measured here, that ends about where GRPO does

  ... --set objective.repulsion=0.03

[bold]Without a bias model[/bold]

  ... --set objective.reference=self --set objective.reference_clip=blank       repels from itself with nothing to see
"""
    + _CHOICE
    + _LAUNCH.format(stage="cdpo", more="")
)

GRPO = (
    """[bold]Examples[/bold]

  vt train grpo --config configs/grpo-3b.toml --data curated --model Qwen/Qwen2.5-VL-3B-Instruct --out runs/grpo

  vt train grpo --config configs/grpo-3b.toml --data curated --model Qwen/Qwen2.5-VL-3B-Instruct --out runs/grpo-7
  --set seed=7
"""
    + _CHOICE
    + _LAUNCH.format(stage="grpo", more="")
)

AUTO = (
    """[bold]Examples[/bold]

  vt train auto --config configs/auto-3b.toml --data curated --model Qwen/Qwen2.5-VL-3B-Instruct --out runs/auto

[bold]Both papers in one run[/bold]

  ... --bias-model runs/bias --set objective.repulsion=0.01

[bold]The comparisons of the paper: answers alone, and thinking alone[/bold]

  vt train grpo ... --set data.prompt=direct

  vt train grpo ... --set data.prompt=cot
"""
    + _CHOICE
    + _LAUNCH.format(stage="auto", more="")
)
