"""Whether a checkpoint can serve as the reference that CDPO repels the policy from."""

from videothinker.errors import VtError
from videothinker.models.checkpoint import Checkpoint, load_processor, weights_hash
from videothinker.models.text_positions import TextPositions, own_rule


def check_reference(start: Checkpoint, own: str, reference: Checkpoint, *, may_be_start: bool) -> str:
    """The hash of the reference's weights, after checking that the policy can be repelled from them.

    start, own: the checkpoint that the policy starts from, and the hash of its weights.
    may_be_start: whether the reference may hold the same weights.

    Raises:
        VtError: the reference has another vocabulary than the policy, or the same weights although `may_be_start` is False.
    """
    ours, theirs = (load_processor(c).tokenizer.get_vocab() for c in (start, reference))
    if ours != theirs:
        raise VtError(
            f"{reference.folder}: has another vocabulary ({len(theirs)} tokens) than {start.folder} ({len(ours)}), so its"
            " probabilities are about other tokens; train the bias model from the same base"
        )
    digest = own if reference == start else weights_hash(reference)
    if not may_be_start and digest == own:
        raise VtError(
            f"{reference.folder}: holds the very weights that training starts from, so it is no bias model: give the one of"
            " `vt train bias`, or set objective.reference = 'start' to repel from the start on purpose"
        )
    return digest


def check_rule(rule: TextPositions, reference: Checkpoint) -> None:
    """Check that the reference was trained with the rule of text positions under which both will score.

    Raises:
        VtError: it was trained with the other, and its probabilities would be those of positions that it does not know.
    """
    if (own := own_rule(reference.folder)) is not rule:
        raise VtError(
            f"{reference.folder}: was trained with text positions '{own}', and the policy is trained with '{rule}'; give a"
            f" reference that was trained so, or set model.text_positions = '{own}'"
        )
