"""The maths of CDPO's extra term: how far the policy stands from a frozen reference, and on which replies that counts.

With d = log p_reference - log p_policy of a sampled token, the paper's term is k3 = exp(d) - d - 1 (section 4). Differentiated
as a loss on the policy's own samples, k3 follows KL(reference || policy), not the KL(policy || reference) that it estimates:
its gradient is (1 - exp(d)) grad log p_policy, and under the policy's expectation that is minus the gradient of
E_reference[log p_policy]. Repelling with it is therefore unlikelihood on what the bias model would write: a token that the
bias model likes better (d > 0) is pushed down with exp(d), one that the policy likes better is pushed up by at most 1.

Tensors only; nothing here knows the trainer.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch.nn import functional as F  # noqa: N812 (its usual name)
from torch.utils.checkpoint import checkpoint

from videothinker.train.objective import KL, Direction, RepelOn

SIGN = {Direction.REPEL: -1.0, Direction.ATTRACT: 1.0}
"""What a divergence is multiplied by in a loss that is minimised: repelling raises it, attracting lowers it."""


def k3(log_ratio: torch.Tensor, clamp: float) -> torch.Tensor:
    """exp(d) - d - 1 of every token, at least 0, larger = further apart.

    log_ratio: d = reference - policy log-probability of the sampled tokens, any shape, nats. clamp: > 0, nats; d is cut to
    [-clamp, clamp], beyond which the gradient is 0 (the official code uses 11).
    """
    d = log_ratio.clamp(-clamp, clamp)
    return torch.expm1(d) - d


def bounded(log_ratio: torch.Tensor, clamp: float) -> torch.Tensor:
    """tanh(k3) of every token: below 1, with a gradient that stays under 1.1 per nat and dies out on both sides."""
    return torch.tanh(k3(log_ratio, clamp))


def exact_kl(
    policy_hidden: torch.Tensor,
    policy_head: torch.Tensor,
    reference_hidden: torch.Tensor,
    reference_head: torch.Tensor,
    *,
    temperature: float = 1.0,
    chunk: int = 256,
) -> torch.Tensor:
    """KL(policy || reference) over the whole vocabulary at every position, (N,), nats; unlike k3 its gradient is its own.

    policy_hidden: (N, H) last hidden states that predict the N tokens. policy_head: (V, H) output embedding. reference_*: the
    same of the frozen reference (its H may differ, V not). chunk: positions scored at a time; only (chunk, V) logits exist at
    once, in the backward pass too.
    """
    pairs = zip(torch.split(policy_hidden, chunk), torch.split(reference_hidden, chunk), strict=True)
    parts = [checkpoint(_exact_chunk, p, policy_head, r, reference_head, temperature, use_reentrant=False) for p, r in pairs]
    return torch.cat(parts)


def _exact_chunk(
    policy_hidden: torch.Tensor,
    policy_head: torch.Tensor,
    reference_hidden: torch.Tensor,
    reference_head: torch.Tensor,
    temperature: float,
) -> torch.Tensor:
    policy = F.log_softmax((policy_hidden @ policy_head.T.to(policy_hidden.dtype)).float() / temperature, dim=-1)
    with torch.no_grad():
        logits = reference_hidden @ reference_head.T.to(reference_hidden.dtype)
        reference = F.log_softmax(logits.float() / temperature, dim=-1)
    return (policy.exp() * (policy - reference)).sum(-1)


def mean_over_replies(tokens: torch.Tensor, mask: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Mean over replies of the mean over a reply's tokens, scalar: the paper's 1/G sum_i 1/|o_i| sum_t.

    tokens: (B, T) one value a token. mask: (B, T), 1 = a token of the reply. rows: (B,), 1 = the reply counts, 0 = it adds
    nothing but stays in the denominator, so that leaving replies out never makes the others weigh more.
    """
    per_reply = (tokens * mask).sum(-1) / mask.sum(-1).clamp(min=1)
    return (per_reply * rows).mean()


def bounded_by_reply(tokens: torch.Tensor, mask: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Mean over replies of tanh(sum over a reply's tokens), scalar; arguments as in `mean_over_replies`.

    A reply counts less than 1 however long it is and whatever it says: neither a longer thought nor a stranger one earns more
    once the reply is a few nats from what the reference would write.
    """
    return (torch.tanh((tokens * mask).sum(-1)) * rows).mean()


class Divergence(NamedTuple):
    """One form of the divergence: what a token counts, and how tokens are averaged."""

    function: Callable[..., torch.Tensor]
    """Called as `k3` is, or where the form `needs_hidden` as `exact_kl` is."""
    over_replies: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor] = mean_over_replies
    """Makes a scalar of the values of the tokens, as `mean_over_replies` does."""
    needs_hidden: bool = False
    """Does it compare whole distributions? Then the trainer keeps both models' hidden states, which takes memory and rules out
    sharded parameters; there is no log-ratio to clamp, and the log's `kl` is the form itself."""


DIVERGENCES = {
    KL.K3: Divergence(k3),
    KL.BOUNDED: Divergence(bounded),
    KL.REPLY: Divergence(k3, over_replies=bounded_by_reply),
    KL.EXACT: Divergence(exact_kl, needs_hidden=True),
}
"""A new form is a function above, a line here and a name in `stages.KL`."""


class Distributions(NamedTuple):
    """What `exact_kl` makes the distributions of both models from; B replies of at most T tokens, V words."""

    policy_hidden: torch.Tensor
    """(B, T, H): the last hidden states, each of the position that predicts the token."""
    policy_head: torch.Tensor
    """(V, H): the output layer's weight."""
    reference_hidden: torch.Tensor
    reference_head: torch.Tensor
    temperature: float


def divergence(
    form: Divergence, log_ratio: torch.Tensor, mask: torch.Tensor, clamp: float, whole: Distributions | None = None
) -> torch.Tensor:
    """The form's value for every token, (B, T).

    log_ratio: (B, T), reference minus policy log-probability of the sampled tokens, nats. mask: (B, T), 1 = a token of the
    reply. clamp: > 0, nats. whole: required by a form that needs hidden states.

    Raises:
        ValueError: the form needs hidden states and there are none.
    """
    if not form.needs_hidden:
        return form.function(log_ratio, clamp)
    if whole is None:
        raise ValueError("this form compares whole distributions: it needs hidden states and output layers")
    real = mask.bool()  # padding would cost as much as tokens: it is left out here, and 0 in the result
    values = form.function(
        whole.policy_hidden[real],
        whole.policy_head,
        whole.reference_hidden[real],
        whole.reference_head,
        temperature=whole.temperature,
    )
    return torch.zeros_like(log_ratio).masked_scatter(real, values)


def rows_to_repel(right: torch.Tensor, group: int, repel_on: RepelOn) -> torch.Tensor:
    """Which replies the divergence counts on, (N,) of 0.0 and 1.0.

    right: (N,) bool, the reply gives exactly the gold answer. group: replies per question, of which N is a multiple; a
    question's replies lie side by side.
    """
    if repel_on is RepelOn.CORRECT_ROLLOUTS:
        return right.float()
    if repel_on is RepelOn.GROUPS_NOT_ALL_RIGHT:
        all_right = right.view(-1, group).all(dim=1)  # one row per question
        return (~all_right).float().repeat_interleave(group)
    return torch.ones_like(right, dtype=torch.float32)


def without_equal_groups(earned: torch.Tensor, group: int) -> torch.Tensor:
    """What each reply counts in the mean where a question whose replies all earned the same is left out, (N,): 0, or as much
    more than 1 as makes the mean one over the others.

    earned: (N,), each reply's reward. group: replies per question, of which N is a multiple; those of a question lie side by
    side.
    """
    rows = earned.view(-1, group)
    differ = (~torch.isclose(rows.amax(1), rows.amin(1))).repeat_interleave(group).float()
    return differ / differ.mean().clamp(min=1 / len(differ))


def mean_distance(drawn: torch.Tensor, scored: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean over tokens of |drawn - scored| in nats, a scalar: how far two computations of the same log-probabilities are apart.

    drawn, scored: (B, T). mask: (B, T), 1 for tokens of a reply. NaN where there are none.
    """
    return (drawn - scored).abs()[mask.bool()].mean()
