"""LoRA adapters: reading their configuration, checking that their weights fit and change something, putting them on a model.

PEFT leaves out what has no module to go to, and begins afresh what its file does not hold: an adapter whose tensors have the
names of another transformers version changes nothing, and the base answers under its name.
"""

import copy
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from videothinker.errors import VtError, missing_extra
from videothinker.models.misfit import Misfit, is_finite, refuse
from videothinker.models.read import RAISED, first_line
from videothinker.models.stored import ADAPTER, adapter_file, check_files, opened, read_config_file, shapes

_FIRST, _SECOND = ("lora_A", "lora_embedding_A"), ("lora_B", "lora_embedding_B")
"""The two factors of a LoRA's product. Training begins with one of them zero."""


def base_of(ref: str, folder: Path) -> str:
    """The folder or hub id of the checkpoint that an adapter was trained on, as its configuration names it.

    Raises:
        VtError: the configuration is damaged, names none, or would import Python of the user's choice.
    """
    told = read_config_file(ref, folder, ADAPTER)
    base = told.get("base_model_name_or_path")
    if not base or not isinstance(base, str):
        raise VtError(f"{ref}: {ADAPTER} does not say which checkpoint it adapts (base_model_name_or_path)")
    if told.get("megatron_config"):  # PEFT then imports the module that `megatron_core` names
        raise VtError(f"{ref}: {ADAPTER} has a megatron_config, for which PEFT imports modules by name; expected a plain LoRA")
    return base


def check_adapter(ref: str, folder: Path, empty: Any) -> None:
    """Check an adapter against its base, which is `empty`: the model without weights, on the device "meta".

    PEFT itself matches names and shapes. `empty` carries the adapter's modules afterwards.

    Raises:
        VtError: a tensor of the adapter is missing, has no module, has another shape or is not finite; all of it together
            changes nothing; or a file is missing, damaged or a pickle.
    """
    try:
        from peft import PeftConfig, PeftModel, PeftType, set_peft_model_state_dict
    except ImportError as error:
        raise missing_extra("peft", "train", f"the LoRA adapter {ref}") from error
    base_of(ref, folder)
    check_files(ref, folder)
    if (kind := read_config_file(ref, folder, ADAPTER).get("peft_type")) not in [known.value for known in PeftType]:
        raise VtError(f"{ref}: the peft_type in its {ADAPTER} is {kind}, which PEFT does not know; for a LoRA it is LORA")
    stored = shapes(ref, [adapter_file(ref, folder)])
    state = {name: torch.empty(shape, device="meta") for name, shape in stored.items()}
    try:
        with _quiet():
            config = PeftConfig.from_pretrained(str(folder))
            result = set_peft_model_state_dict(PeftModel(empty, config, low_cpu_mem_usage=True), state)
    except KeyError as error:  # of a module that is saved whole
        raise VtError(f"{ref}: the weights do not fit its {ADAPTER}: 1 is missing ({error.args[0]}); save all of it") from error
    except RAISED as error:
        raise VtError(f"{ref}: does not fit its {ADAPTER} or its base: {_why(error)}") from error
    missing = [_as_saved(name) for name in result.missing_keys if _is_of(name, config)]
    refuse(ref, Misfit(missing, result.unexpected_keys), stored, fitting=f"its {ADAPTER} and its base")
    check_content(ref, folder)


def check_resumed(ref: str, folder: Path, model: Any, name: str = "default") -> None:
    """Check an adapter that a trainer saved against the adapter `name` of the model that goes on from it.

    One that changes nothing is no fault: training may not have moved it yet.

    Raises:
        VtError: as for `check_adapter`.
    """
    from peft import get_peft_model_state_dict

    expected = {key: tuple(value.shape) for key, value in get_peft_model_state_dict(model, adapter_name=name).items()}
    refuse(ref, Misfit.between(shapes(ref, [adapter_file(ref, folder)]), expected), fitting="the adapter in training")
    check_content(ref, folder, may_be_nothing=True)


def put_on(ref: str, folder: Path, model: Any, *, trainable: bool = False) -> Any:
    """The model with an adapter on it, the adapter having been checked.

    Raises:
        VtError: as for `check_adapter`.
    """
    with torch.device("meta"):
        empty = type(model)(copy.deepcopy(model.config))
    check_adapter(ref, folder, empty)
    from peft import PeftModel

    with _quiet():
        return PeftModel.from_pretrained(model, str(folder), is_trainable=trainable)


def merge_into(ref: str, folder: Path, model: Any) -> Any:
    """The plain model with an adapter merged into its weights.

    Where input and output embeddings are one weight (tie_word_embeddings) and the adapter is on one of them, they become two:
    merging would else change the other along with it, which the adapter, unmerged, does not.

    Raises:
        VtError: as for `check_adapter`, or the adapter is of a kind that PEFT does not merge.
    """
    adapted = put_on(ref, folder, model)
    if embeddings_are_one(model) and any(hasattr(each, "get_delta_weight") for each in embeddings(model)):
        output = plain_layer(embeddings(model)[1])
        output.weight = torch.nn.Parameter(output.weight.detach().clone(), requires_grad=output.weight.requires_grad)
        for config in (model.config, model.config.get_text_config()):
            config.tie_word_embeddings = False
    try:
        with _quiet():
            return adapted.merge_and_unload()
    except RAISED as error:
        why = f"cannot be merged into its base ({first_line(error)}), as is done to ask it or to train on from its weights"
        raise VtError(f"{ref}: {why}; take a plain LoRA or one with DoRA") from error


def embeddings(model: Any) -> tuple[Any, Any]:
    """A model's input and output embeddings, with what adapters have put around them."""
    return model.get_input_embeddings(), model.get_output_embeddings()


def plain_layer(layer: Any) -> Any:
    """A layer without what adapters have put around it."""
    inside = layer._modules
    while (within := inside.get("base_layer", inside.get("original_module"))) is not None:
        layer, inside = within, within._modules
    return layer


def embeddings_are_one(model: Any) -> bool:
    """Whether a model's output embeddings are its input embeddings' very weight."""
    first, second = embeddings(model)
    if first is None or second is None:
        return False
    return getattr(plain_layer(first), "weight", None) is getattr(plain_layer(second), "weight", first)


def put_beside(ref: str, folder: Path, model: Any, name: str) -> None:
    """Put a further, frozen adapter of the given name on a model that has one, as long as it fits the same base.

    Raises:
        VtError: as for `check_adapter`.
    """
    base_of(ref, folder)
    check_content(ref, folder)
    try:
        with _quiet():
            result = model.load_adapter(str(folder), adapter_name=name, is_trainable=False)
    except RAISED as error:
        raise VtError(f"{ref}: does not fit its {ADAPTER} or the policy's base: {_why(error)}") from error
    missing = [_as_saved(key, name) for key in result.missing_keys]
    refuse(ref, Misfit(missing, result.unexpected_keys), fitting=f"its {ADAPTER} and the policy's base")


def check_content(ref: str, folder: Path, *, may_be_nothing: bool = False) -> None:
    """Check the numbers of an adapter: all finite, and not all of its products zero.

    Raises:
        VtError: they are not; names a tensor.
    """
    parts: dict[str, list[bool]] = {}
    only_products = True
    with opened(ref, adapter_file(ref, folder)) as tensors:
        for name in tensors.keys():  # noqa: SIM118
            tensor = tensors.get_tensor(name)
            if not is_finite(tensor):
                raise VtError(f"{ref}: {name} holds NaN or infinite numbers; take an adapter from before its training diverged")
            module, factor = _factor(name)
            only_products &= factor is not None
            parts.setdefault(module, []).append(bool(tensor.any()))
    if only_products and not may_be_nothing and not any(all(nonzero) for nonzero in parts.values()):
        raise VtError(
            f"{ref}: the adapter changes nothing: lora_A or lora_B is zero in each of its {len(parts)} modules, and its base"
            " would answer under its name; train it, or name the base"
        )


def _factor(name: str) -> tuple[str, str | None]:
    """The module that a tensor belongs to, and which of LoRA's two factors it is; None for what else an adapter may hold."""
    found = re.fullmatch(rf"(.*)\.({'|'.join((*_FIRST, *_SECOND))})(\..*)?", name)
    return (found[1], found[2]) if found else (name, None)


def _is_of(name: str, config: Any) -> bool:
    """Is a parameter of the model with an adapter on it one of the adapter's own?"""
    from peft.mapping import PEFT_TYPE_TO_PREFIX_MAPPING

    prefix = PEFT_TYPE_TO_PREFIX_MAPPING.get(config.peft_type)
    return (prefix is not None and prefix in name) or ".modules_to_save." in name


def _as_saved(name: str, adapter: str = "default") -> str:
    """A tensor's name in an adapter file, which does not hold the adapter's own name."""
    return name.replace(f".{adapter}", "")


def _why(error: BaseException) -> str:
    """What torch says of the first shape that does not fit; of any other error the first line."""
    found = re.search(r"size mismatch for (\S+): .*?\[([\d, ]*)\].*?\[([\d, ]*)\]", str(error))
    return f"{_as_saved(found[1])} is ({found[2]}), expected ({found[3]})" if found else first_line(error)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep PEFT from warning of what does not fit: it is refused in one line."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
