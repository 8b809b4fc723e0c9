"""An adapter that is merged answers as PEFT's own model with the adapter on it does, or is refused in one line."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForImageTextToText

from videothinker import store
from videothinker.errors import VtError
from videothinker.models.checkpoint import check_fit, find_checkpoint, load_full
from videothinker.models.load import load
from videothinker.models.merged import write_merged

LAYERS = r".*language_model.*\.(q_proj|v_proj|up_proj)"
IDS = torch.arange(5, 25)[None]


@pytest.fixture(scope="module")
def start(assets: Path) -> Path:
    return assets / "start"


def adapted(start: Path, out: Path, targets: str, **settings: Any) -> torch.Tensor:
    """Save an adapter that is far from nothing, and return the logits of the model that has it, unmerged."""
    torch.manual_seed(2)
    base = AutoModelForImageTextToText.from_pretrained(start, dtype=torch.float32)
    model = get_peft_model(base, LoraConfig(r=4, lora_alpha=16, target_modules=targets, **settings)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name or "lora_embedding" in name:
                parameter.normal_(std=0.1)
            if "lora_magnitude_vector" in name:
                parameter.mul_(1 + 0.5 * torch.rand_like(parameter))
        model.save_pretrained(out)
        return logits(model)


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    found: torch.Tensor = model.eval()(input_ids=IDS.to(model.device)).logits.cpu()
    return found


def asked(adapter: Path, scratch: Path) -> list[torch.Tensor]:
    """The logits by each way that merges: to ask, to train on from, and to be carried away."""
    write_merged(str(adapter), scratch)
    away = AutoModelForImageTextToText.from_pretrained(scratch, dtype=torch.float32)
    return [
        logits(one)
        for one in (
            load(str(adapter), dtype="float32").model,
            load_full(find_checkpoint(str(adapter)), torch.float32, "sdpa"),
            away,
        )
    ]


@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize("targets", [r".*(q_proj|embed_tokens)", r".*(q_proj|lm_head)", r".*(lm_head|embed_tokens)"])
def test_embeddings_that_are_one_weight_become_two_where_an_adapter_is_on_one(
    start: Path, tmp_path: Path, targets: str, dora: bool
) -> None:
    expected = adapted(start, tmp_path / "adapter", targets, use_dora=dora)
    for found in asked(tmp_path / "adapter", tmp_path / "merged"):
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert store.read_json(tmp_path / "merged" / "config.json", dict[str, Any])["tie_word_embeddings"] is False


@pytest.mark.parametrize("dora", [False, True])
def test_a_merged_adapter_answers_as_the_unmerged_one(start: Path, tmp_path: Path, dora: bool) -> None:
    expected = adapted(start, tmp_path / "adapter", LAYERS, use_dora=dora)
    without = logits(AutoModelForImageTextToText.from_pretrained(start, dtype=torch.float32))
    assert float((expected - without).abs().max()) > 0.05
    for found in asked(tmp_path / "adapter", tmp_path / "merged"):
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert store.read_json(tmp_path / "merged" / "config.json", dict[str, Any])["tie_word_embeddings"] is True


def test_an_adapter_that_peft_does_not_merge_is_refused_in_one_line(start: Path, tmp_path: Path) -> None:
    adapted(start, tmp_path / "adapter", LAYERS, alora_invocation_tokens=[7])
    check_fit(find_checkpoint(str(tmp_path / "adapter")))
    for way in (lambda: load(str(tmp_path / "adapter")), lambda: write_merged(str(tmp_path / "adapter"), tmp_path / "merged")):
        with pytest.raises(
            VtError, match=r"^[^\n]*adapter: cannot be merged into its base \(aLoRA [^\n]*; take a plain LoRA [^\n]*$"
        ):
            way()
    assert not (tmp_path / "merged").exists()
