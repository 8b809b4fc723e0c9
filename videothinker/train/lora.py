"""What a LoRA policy costs beside its adapters: nothing of the size of its base, neither while it writes nor while it learns.

Replies are written by plain layers, with the adapters merged into their weights: unmerged, each of the 252 adapted layers of a
3B model would be three products per token in place of one. A merged copy of them takes 5.2 GiB. So the base's own memory holds
the merged weights meanwhile, and gets the base's back from a copy on the host, which costs one transfer a step. Subtracting the
adapters again would need no such copy, but leave rounding in a base that is meant to be frozen.
"""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch

from videothinker.errors import VtError
from videothinker.models.adapter import embeddings, embeddings_are_one, plain_layer
from videothinker.models.read import RAISED, first_line
from videothinker.train.stages import Lora

POLICY = "default"
"""PEFT's name for the adapter that is trained."""

_PIECE = 2**22
"""Numbers of a weight that are kept in one piece on the host, 8 MiB: PyTorch rounds pinned memory up to powers of two."""


def has_own_adapter(layer: Any) -> bool:
    """Whether the policy's adapter is on the layer. A layer may have a frozen one alone, or none."""
    return hasattr(layer, "get_delta_weight") and POLICY in layer.scaling


@torch.no_grad()
def merged_weight(layer: Any) -> torch.Tensor:
    """The weight of an adapted layer with the policy's adapter merged in, of the base's shape, float32.

    An adapter with DoRA also scales each row, which is no sum of two weights, and PEFT's own merge of it is asked.
    """
    merged: torch.Tensor = layer.base_layer.weight.float()
    if POLICY in layer.lora_variant:
        merged = layer.lora_variant[POLICY].merge_safe(layer, POLICY, merged)
    else:
        merged = merged + layer.get_delta_weight(POLICY).float()
    return merged


def check_written(subject: str, model: Any, instead: str) -> None:
    """Check that the policy's adapter is one with which replies are scored, and are written by `merged_weight` alone.

    subject: what put the adapter there, and instead: what to do; they begin and end the line. model: the one inside the PEFT
    wrapper; it may be on the device "meta".

    Raises:
        VtError: the adapter has a part that these weights would lack, or is on a weight that two layers share.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, layer in model.named_modules():
        if not isinstance(layer, BaseTunerLayer):
            continue
        variant = getattr(layer, "lora_variant", {}).get(POLICY)
        if not hasattr(layer, "get_delta_weight") or (variant is not None and not layer.use_dora.get(POLICY)):
            why = f"is no LoRA or DoRA ({type(layer if variant is None else variant).__name__})"
        elif getattr(layer, "lora_bias", {}).get(POLICY):
            why = "has a bias of its own (lora_bias)"
        else:
            continue
        raise VtError(f"{subject}: what it adds to {name} {why}, which replies would be written without; {instead}")
    check_scored(subject, model, instead)
    if embeddings_are_one(model) and any(each is not plain_layer(each) for each in embeddings(model)):
        why = "embed_tokens and lm_head are one weight (tie_word_embeddings), and both would change while replies are written"
        raise VtError(f"{subject}: {why}; {instead}")


def check_scored(subject: str, model: Any, instead: str) -> None:
    """Check that no adapter is on the output embeddings, whose plain weight is what replies are scored with, by tiles.

    Arguments are those of `check_written`.

    Raises:
        VtError: one is.
    """
    if hasattr(embeddings(model)[1], "get_delta_weight"):
        raise VtError(f"{subject}: lm_head has an adapter, and replies are scored with its plain weight; {instead}")


def fresh(settings: Lora) -> Any:
    """PEFT's configuration of adapters that begin anew."""
    from peft import LoraConfig

    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=settings.targets,
        task_type="CAUSAL_LM",
    )


def put_fresh(subject: str, settings: Lora, empty: Any) -> None:
    """Put the modules of adapters that begin anew into a model without weights.

    Raises:
        VtError: there is no such layer, or one on which PEFT has no LoRA; the line begins with `subject`.
    """
    from peft import inject_adapter_in_model

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of weights that two layers share: `check_written` refuses them
            inject_adapter_in_model(fresh(settings), empty, POLICY, low_cpu_mem_usage=True)
    except (*RAISED, re.error) as error:
        raise VtError(f"{subject}: does not fit the model: {first_line(error)}") from error


class _Adapted(NamedTuple):
    """A layer with adapters around it, and where it stands."""

    parent: Any
    name: str
    layer: Any


class MergedBase:
    """Lets a LoRA policy be a plain model for a while, without a second set of weights on its device.

    The first time, a copy of the adapted layers' base weights is made on the host, in pinned memory if the model is on a GPU;
    it is all that this holds, and it is kept, for a base is frozen.
    """

    def __init__(self) -> None:
        self._kept: WeakKeyDictionary[Any, list[torch.Tensor]] = WeakKeyDictionary()  # by layer, the pieces of its weight

    @staticmethod
    def serves(model: Any) -> bool:
        """Whether the model inside a PEFT wrapper has adapters, and all else of it is bfloat16, as replies are written in."""
        plain = (weight for name, weight in model.named_parameters() if "lora_" not in name)
        return bool(_adapted(model)) and all(weight.dtype == torch.bfloat16 for weight in plain)

    @contextmanager
    def merged(self, model: Any) -> Iterator[None]:
        """Inside, the model's adapted layers are plain ones that hold the merged weights, rounded to the base's type.

        model: the one inside the PEFT wrapper. Nobody else may compute with it meanwhile, and no backward pass may be under
        way. Its weights may be moved to other memory, as `side_by_side` does. Afterwards every base weight has its former
        bits and the adapters are back, also if an error was raised.
        """
        adapted = _adapted(model)
        own = [each.layer for each in adapted if has_own_adapter(each.layer)]
        for layer in own:
            if layer not in self._kept:
                self._kept[layer] = _on_host(layer.base_layer.weight)
        try:
            for layer in own:
                layer.base_layer.weight.copy_(merged_weight(layer))  # autograd counts it, and would refuse a graph from before
            for parent, name, layer in adapted:
                setattr(parent, name, layer.base_layer)
            yield
        finally:
            for parent, name, layer in adapted:
                setattr(parent, name, layer)
            for layer in own:
                for piece, former in zip(_pieces(layer.base_layer.weight), self._kept[layer], strict=True):
                    piece.copy_(former, non_blocking=True)  # in the order of the stream, before whatever is computed next


def spare_input_copies(policy: Any) -> None:
    """Keep a policy's adapters from copying their inputs to float32 where autocast takes them back to bfloat16.

    PEFT does so wherever adapters are float32 and the base is not. The numbers are the same; a copy of what goes into a 3B
    model's down_proj takes 0.6 GiB at 8 rows of 1,840 tokens, and so does its gradient. policy: with adapters or without.
    """
    for layer in policy.modules():
        if hasattr(layer, "lora_A"):
            layer.register_forward_pre_hook(_as_they_come)


def _as_they_come(layer: Any, _inputs: Any) -> None:
    """Have PEFT cast the inputs of a layer only where autocast does not."""
    layer.cast_input_dtype_enabled = not torch.is_autocast_enabled(layer.base_layer.weight.device.type)


def _adapted(model: Any) -> list[_Adapted]:
    """The layers of a model that have adapters around them."""
    return [
        _Adapted(parent, name, layer)
        for parent in model.modules()
        for name, layer in parent.named_children()
        if hasattr(layer, "get_delta_weight")
    ]


def _on_host(weight: torch.Tensor) -> list[torch.Tensor]:
    """The pieces of a weight, in memory of the host."""
    return [torch.empty_like(piece, device="cpu", pin_memory=weight.is_cuda).copy_(piece) for piece in _pieces(weight)]


def _pieces(weight: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """A weight's own memory in pieces of one dimension. It is asked for anew at each use, since weights may be moved."""
    return torch.split(weight.detach().view(-1), _PIECE)
