"""What a training optimises beside its rewards: the divergence from a reference, whose it is and on which replies it counts.

These are the settings of the section [objective]; `loss.py` has the formulas. This module loads without torch.
"""

from enum import StrEnum

import msgspec

from videothinker.damage import Damage
from videothinker.records.bounds import AboveZero, Index, NotNegative, Share


class Direction(StrEnum):
    """What the divergence term does to the policy."""

    REPEL = "repel"
    """Away from the reference: CDPO."""
    ATTRACT = "attract"
    """Towards it: the paper's ablation, and the ordinary KL penalty."""


class Reference(StrEnum):
    """Whose probabilities the divergence is measured to."""

    BIAS = "bias"
    """The checkpoint named by --bias-model."""
    START = "start"
    """The policy's own start, an ablation of the paper. Measured here it ended about where GRPO does, +0.2 points of
    inferential accuracy with the sign undecided, and no run collapsed (docs/training.md)."""
    SELF = "self"
    """The policy itself as it wrote the replies, without gradient. On a damaged clip (`reference_clip`) this is the idea of
    PAPO (arXiv 2507.06448) with the paper's loss: not what is repelled from is trained, but what it is shown is poorer."""


class ReferenceClip(StrEnum):
    """What the reference is shown when it scores the policy's replies; the policy always sees the clip itself."""

    SAME = "same"
    """The clip itself: CDPO."""
    BLANK = "blank"
    """Mid-grey frames, so the reference has the question's words alone. `damage.py` defines this one and those below."""
    FROZEN = "frozen"
    """The first frame at all times."""
    SHUFFLED = "shuffled"
    """The frames in another order, drawn from seed and question."""
    REVERSED = "reversed"
    """The frames from the last to the first."""
    MIRRORED = "mirrored"
    """Left and right exchanged. Nothing of what happens is lost, so this one is for `direction = "attract"`."""

    @property
    def damage(self) -> Damage | None:
        """What is done to the clip; None: nothing."""
        return None if self is ReferenceClip.SAME else Damage(self.value)


class KL(StrEnum):
    """The form of the divergence; `loss.py` has the formulas."""

    K3 = "k3"
    BOUNDED = "bounded"
    REPLY = "reply"
    EXACT = "exact"


class RepelOn(StrEnum):
    """On which replies the divergence counts."""

    ALL = "all"
    GROUPS_NOT_ALL_RIGHT = "groups_not_all_right"
    """Not where every reply to a question is right: there the advantage is 0 and repulsion alone would move the policy."""
    CORRECT_ROLLOUTS = "correct_rollouts"
    """Only on replies that are exactly right. What is right is told by the reward "accuracy", here and above: it is 1. Of
    intervals that is only the gold one itself."""


class Objective(msgspec.Struct, frozen=True, kw_only=True):
    """[objective]: the loss."""

    repulsion: NotNegative = 0.0
    """|beta|; paper: 0.01 for CDPO, 0 otherwise. 0.003 to 0.1 was stable in the study, 0.1 not for every model of the
    preparatory experiment (docs/training.md)."""
    hold_at: AboveZero | None = None
    """Adapt the repulsion, from `repulsion` on, so that the divergence stays at this multiple of the start model's (`hold.py`);
    None: constant, as in the paper."""
    gradient_share: Share | None = None
    """Set the weight anew at each optimizer step, in place of `repulsion`, so that the divergence's gradient has this share of
    the norm of the reward's (`apart.py`). For comparison: in the first study a repulsion of 0.01 came to 0.02, 0.1 to 0.21.
    None: the weight is `repulsion`."""
    log_gradient_ratio_every: Index | None = None
    """Measure that ratio every so many optimizer steps, at one more backward pass each; 0: never. None: every step,
    or never under FSDP and DeepSpeed, where it cannot be had."""
    anchor: NotNegative = 0.0
    """Weight of k3 to a frozen copy of the start, unclamped, which keeps the policy near it: the KL penalty of ordinary GRPO.
    It is a term of its own beside `repulsion`, so that one run can have both, and counts on every reply, also on those that
    `drop_equal_groups` leaves out. VideoAuto-R1: 0.01; the first paper: none."""
    direction: Direction = Direction.REPEL
    reference: Reference = Reference.BIAS
    reference_clip: ReferenceClip = ReferenceClip.SAME
    """Paper: the same clip. PAPO: 60 % of an image's patches black; other damages are ours."""
    kl: KL = KL.K3
    kl_clamp: AboveZero = 11.0
    """Nats; official code."""
    repel_on: RepelOn = RepelOn.ALL
    drop_equal_groups: bool = False
    """Leave out the replies to a question if all of them earned the same, as DAPO's dynamic sampling does: the loss, divergence
    included, is the mean over the others. No new questions take their place. False: such replies have advantage 0, but are
    repelled and count in the mean."""
    clip_low: Share = 0.2
    clip_high: NotNegative = 0.28
    """The probability ratio is cut to [1 - clip_low, 1 + clip_high]; official code, after DAPO."""

    @property
    def starts_at_zero(self) -> bool:
        """Is the reference at first the policy itself, shown the same? Then there is nothing to take a multiple or share of."""
        return self.reference is Reference.START and self.reference_clip is ReferenceClip.SAME
