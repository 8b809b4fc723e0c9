"""A LoRA adapter merged into its base, as a checkpoint that stands alone."""

from pathlib import Path

from videothinker.models.checkpoint import find_checkpoint, load_full, stored_weights
from videothinker.models.companions import copy_companions
from videothinker.models.saved_prompt import own_prompt, save_prompt
from videothinker.models.saving import writing

_WRITTEN_ANEW = ("config.json", "generation_config.json")


def write_merged(ref: str, out: Path) -> None:
    """Write into the folder `out` the weights of an adapter and its base in one, in the type that the base is stored in.

    Raises:
        VtError: the adapter or its base cannot be loaded.
    """
    found = find_checkpoint(ref)
    dtype = next(stored_weights(found.full))[1].dtype
    model = load_full(found, dtype, "sdpa")
    with writing(out):
        model.save_pretrained(out)
        copy_companions(found.full, out, but=_WRITTEN_ANEW)
        if (asked := own_prompt(found.folder)) is not None:
            save_prompt(out, asked)
