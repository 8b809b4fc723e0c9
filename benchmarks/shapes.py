"""Checkpoints with random weights, for the benchmarks that time a model whatever it says.

Their replies never end by themselves: the only end token in their generation settings is the placeholder of an image, which no
engine draws. So every reply is exactly as long as the benchmark allows, whoever writes it.
"""

from pathlib import Path
from typing import Any, get_args

import torch
from transformers import AutoConfig, AutoModelForImageTextToText, GenerationConfig

from videothinker.models import tiny

LARGE = "3b"
SHAPES = (*get_args(tiny.Size), LARGE)


def build(folder: Path, shape: str, *, seed: int = 0) -> Path:
    """Write a checkpoint into `folder`, unless a whole one of this shape and seed is there, and return `folder`.

    shape: a size of `models.tiny`, in float32; or "3b", Qwen2.5-VL-3B-Instruct's shape with the tiny model's tokenizer, which
    has 3.75 G parameters in bfloat16.
    """
    whole, what = folder / "built.txt", f"{shape}, seed {seed}\n"
    if whole.is_file() and whole.read_text() == what:
        return folder
    whole.unlink(missing_ok=True)
    tiny.build(folder, seed=seed, size="test" if shape == LARGE else shape)  # type: ignore[arg-type]
    if shape == LARGE:
        _enlarge(folder, seed)
    generation = GenerationConfig.from_pretrained(folder)
    generation.eos_token_id = AutoConfig.from_pretrained(folder).image_token_id
    generation.save_pretrained(folder)
    whole.write_text(what)  # last: who is stopped before leaves no weights that would be taken for whole
    return folder


def enlarged(config: Any) -> Any:
    """The config of a tiny checkpoint, in the shape that Qwen2.5-VL-3B-Instruct's config.json gives."""
    text: dict[str, Any] = {
        "vocab_size": 151_936,
        "hidden_size": 2048,
        "intermediate_size": 11_008,
        "num_hidden_layers": 36,
        "num_attention_heads": 16,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128_000,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
        "layer_types": ["full_attention"] * 36,
        "max_window_layers": 36,
    }
    vision: dict[str, Any] = {
        "depth": 32,
        "hidden_size": 1280,
        "intermediate_size": 3420,
        "num_heads": 16,
        "out_hidden_size": 2048,
        "fullatt_block_indexes": [7, 15, 23, 31],
    }
    for part, values in ((config.text_config, text), (config.vision_config, vision)):
        for name, value in values.items():
            setattr(part, name, value)
    return config


def _enlarge(folder: Path, seed: int) -> None:
    """Replace the weights of a tiny checkpoint by random ones of the large shape."""
    config = enlarged(AutoConfig.from_pretrained(folder))
    torch.manual_seed(seed)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = AutoModelForImageTextToText.from_config(config, dtype=torch.bfloat16)
    for weights in folder.glob("model*.safetensors*"):
        weights.unlink()  # the new weights may lie in several files of other names
    model.save_pretrained(folder)
