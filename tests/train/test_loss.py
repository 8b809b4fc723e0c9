"""CDPO's term on tensors small enough to work out by hand: values, gradients, signs, and which replies count."""

import math

import pytest
import torch

from videothinker.train.loss import (
    DIVERGENCES,
    SIGN,
    Distributions,
    bounded,
    bounded_by_reply,
    divergence,
    exact_kl,
    k3,
    mean_distance,
    mean_over_replies,
    rows_to_repel,
    without_equal_groups,
)
from videothinker.train.objective import KL, Direction, RepelOn


def test_k3_by_hand() -> None:
    d = torch.tensor([0.0, math.log(2), -math.log(2), 1.0])
    expected = [0.0, 2 - math.log(2) - 1, 0.5 + math.log(2) - 1, math.e - 2]
    assert k3(d, 11.0).tolist() == pytest.approx(expected, abs=1e-7)


def test_k3_keeps_small_divergences_that_plain_subtraction_would_round_away() -> None:
    assert k3(torch.tensor([1e-4]), 11.0).item() == pytest.approx(5e-9, rel=1e-2)


def test_k3_pushes_by_exp_d_less_one_and_not_at_all_beyond_the_clamp() -> None:
    logp = torch.zeros(5, requires_grad=True)
    reference = torch.tensor([1.0, -3.0, 10.9, 11.1, -12.0])
    k3(reference - logp, 11.0).sum().backward()
    assert logp.grad is not None
    by_hand = [1 - math.e, 1 - math.exp(-3), 1 - math.exp(10.9), 0.0, 0.0]
    assert logp.grad.tolist() == pytest.approx(by_hand, rel=1e-5)


def test_k3_differentiated_on_samples_follows_the_kl_from_the_reference() -> None:
    """E_policy[grad k3] is the gradient of KL(reference || policy), not of KL(policy || reference)."""
    torch.manual_seed(0)
    logits = torch.randn(50, dtype=torch.float64, requires_grad=True)
    reference = torch.randn(50, dtype=torch.float64).log_softmax(-1)
    logp = logits.log_softmax(-1)
    (on_samples,) = torch.autograd.grad((logp.detach().exp() * k3(reference - logp, 50.0)).sum(), logits, retain_graph=True)
    (from_reference,) = torch.autograd.grad((reference.exp() * (reference - logp)).sum(), logits, retain_graph=True)
    (from_policy,) = torch.autograd.grad((logp.exp() * (logp - reference)).sum(), logits)
    assert torch.allclose(on_samples, from_reference, atol=1e-12)
    assert (on_samples - from_policy).norm() > 0.1 * from_policy.norm()


def test_bounded_stays_below_one_and_its_gradient_below_1_1() -> None:
    d = torch.linspace(-20, 20, 4001, requires_grad=True)
    values = bounded(d, 50.0)
    values.sum().backward()
    assert d.grad is not None
    assert values.max() <= 1
    assert values.min() >= 0
    assert 1.0 < d.grad.abs().max() < 1.1
    assert d.grad[:100].abs().max() < 1e-12
    assert d.grad[-100:].abs().max() < 1e-12


@pytest.mark.parametrize("chunk", [1, 3, 256])
def test_the_exact_divergence_and_its_gradient_do_not_depend_on_the_chunks(chunk: int) -> None:
    torch.manual_seed(1)
    hidden, other_hidden = torch.randn(7, 4, dtype=torch.float64), torch.randn(7, 6, dtype=torch.float64)
    head, other_head = torch.randn(11, 4, dtype=torch.float64), torch.randn(11, 6, dtype=torch.float64)
    hidden.requires_grad_(True)
    head.requires_grad_(True)
    ours = exact_kl(hidden, head, other_hidden, other_head, temperature=0.7, chunk=chunk)
    gradients = torch.autograd.grad(ours.sum(), (hidden, head))
    policy = ((hidden @ head.T) / 0.7).log_softmax(-1)
    reference = ((other_hidden @ other_head.T) / 0.7).log_softmax(-1)
    plain = (policy.exp() * (policy - reference)).sum(-1)
    assert ours.shape == (7,)
    assert torch.allclose(ours.double(), plain, atol=1e-5)
    for mine, textbook in zip(gradients, torch.autograd.grad(plain.sum(), (hidden, head)), strict=True):
        assert torch.allclose(mine, textbook, atol=1e-5)


def test_the_exact_divergence_by_hand() -> None:
    """Two tokens, 0.8/0.2 against 0.5/0.5."""
    head = torch.eye(2)
    value = exact_kl(torch.tensor([[math.log(0.8), math.log(0.2)]]), head, torch.zeros(1, 2), head)
    assert value.item() == pytest.approx(0.8 * math.log(1.6) + 0.2 * math.log(0.4), abs=1e-6)


def test_every_form_has_its_line_and_the_exact_one_has_no_sampled_value() -> None:
    assert set(DIVERGENCES) == set(KL)
    with pytest.raises(ValueError, match="needs hidden states"):
        divergence(DIVERGENCES[KL.EXACT], torch.zeros(1, 1), torch.ones(1, 1), 11.0)


@pytest.mark.parametrize(
    ("kl", "value"),
    [
        (KL.K3, (0.5 / 2 + (1 - math.log(2))) / 2),
        (KL.BOUNDED, ((math.tanh(1 - math.log(2)) + math.tanh(math.log(2) - 0.5)) / 2 + math.tanh(1 - math.log(2))) / 2),
        (KL.REPLY, (math.tanh(0.5) + math.tanh(1 - math.log(2))) / 2),
    ],
)
def test_the_sampled_forms_of_two_replies_by_hand(kl: KL, value: float) -> None:
    """A reply of two tokens, d = log 2 and -log 2, and one of one, log 2: k3 = 1 - log 2 and log 2 - 1/2, together 1/2."""
    log_ratio = torch.tensor([[math.log(2), -math.log(2)], [math.log(2), 5.0]])
    mask = torch.tensor([[1, 1], [1, 0]])
    form = DIVERGENCES[kl]
    found = form.over_replies(divergence(form, log_ratio, mask, 11.0), mask, torch.ones(2))
    assert found.item() == pytest.approx(value, abs=1e-6)
    clamped = divergence(form, torch.tensor([[3.0]]), torch.ones(1, 1), 1.0)
    assert clamped.item() == pytest.approx(math.tanh(math.e - 2) if kl is KL.BOUNDED else math.e - 2, abs=1e-6)


def test_the_exact_form_of_a_batch_is_computed_where_there_are_tokens() -> None:
    """0.8/0.2 against 0.5/0.5 at the first token of the second reply; padding is 0, whatever stands there."""
    hidden = torch.full((2, 2, 2), float("nan"))
    hidden[1, 0] = torch.tensor([math.log(0.8), math.log(0.2)])
    head, mask = torch.eye(2), torch.tensor([[0, 0], [1, 0]])
    whole = Distributions(hidden, head, torch.zeros(2, 2, 2), head, 1.0)
    found = divergence(DIVERGENCES[KL.EXACT], torch.zeros(2, 2), mask, 11.0, whole)
    assert found[1, 0].item() == pytest.approx(0.8 * math.log(1.6) + 0.2 * math.log(0.4), abs=1e-6)
    assert found.sum() == found[1, 0]


def test_replies_weigh_the_same_whatever_their_length_and_left_out_ones_stay_in_the_denominator() -> None:
    tokens = torch.tensor([[4.0, 9.0, 9.0], [1.0, 2.0, 3.0]])
    mask = torch.tensor([[1, 0, 0], [1, 1, 1]])
    assert mean_over_replies(tokens, mask, torch.ones(2)).item() == (4 + 2) / 2
    assert mean_over_replies(tokens, mask, torch.tensor([0.0, 1.0])).item() == 2 / 2
    assert mean_over_replies(tokens, torch.zeros(2, 3), torch.ones(2)).item() == 0


def test_bounded_by_reply_neither_length_nor_strangeness_earns_more_than_one() -> None:
    """Sums 0.5 and 0.75: tanh of each; ten times the tokens, or one beyond all measure, get a reply to 1 and leave no push."""
    tokens = torch.tensor([[0.5, 9.0, 9.0], [0.25, 0.25, 0.25]])
    mask = torch.tensor([[1, 0, 0], [1, 1, 1]])
    rows = torch.tensor([1.0, 1.0])
    by_hand = (math.tanh(0.5) + math.tanh(0.75)) / 2
    assert bounded_by_reply(tokens, mask, rows).item() == pytest.approx(by_hand)
    assert bounded_by_reply(tokens, mask, torch.tensor([0.0, 1.0])).item() == pytest.approx(math.tanh(0.75) / 2)
    far = torch.tensor([[0.75] * 30, [60000.0] + [0.0] * 29], requires_grad=True)
    value = bounded_by_reply(far, torch.ones(2, 30), rows)
    value.backward()
    assert value.item() == pytest.approx(1.0)
    assert far.grad is not None
    assert far.grad.abs().max() < 1e-12


@pytest.mark.parametrize(
    ("repel_on", "expected"),
    [
        (RepelOn.ALL, [1, 1, 1, 1, 1, 1]),
        (RepelOn.GROUPS_NOT_ALL_RIGHT, [0, 0, 1, 1, 1, 1]),
        (RepelOn.CORRECT_ROLLOUTS, [1, 1, 1, 0, 0, 0]),
    ],
)
def test_which_replies_are_repelled(repel_on: RepelOn, expected: list[int]) -> None:
    right = torch.tensor([True, True, True, False, False, False])
    assert rows_to_repel(right, 2, repel_on).tolist() == expected


def test_descending_the_signed_term_raises_the_divergence_when_repelling_and_lowers_it_when_attracting() -> None:
    reference = torch.tensor([[-1.0, -2.0]])
    for direction, grows in ((Direction.REPEL, True), (Direction.ATTRACT, False)):
        logp = torch.tensor([[-1.5, -1.2]], requires_grad=True)
        before = k3(reference - logp, 11.0).sum()
        (SIGN[direction] * before).backward()
        assert logp.grad is not None
        after = k3(reference - (logp - 0.01 * logp.grad), 11.0).sum()
        assert (after > before).item() is grows


def test_replies_of_groups_that_earned_the_same_leave_the_mean_to_the_others() -> None:
    """Three questions with two replies each, of which the first and the last earned the same: two of six replies count, three
    times each, so the mean over six is that over the two."""
    earned = torch.tensor([1.5, 1.5, 0.0, 1.0, 0.0, 0.0])
    assert without_equal_groups(earned, 2).tolist() == [0, 0, 3, 3, 0, 0]
    assert without_equal_groups(torch.ones(4), 2).tolist() == [0, 0, 0, 0]


def test_the_distance_of_two_scorings_is_over_the_tokens_of_replies() -> None:
    """Of four tokens the last is padding: (0.5 + 0 + 0.25) / 3."""
    drawn, scored = torch.tensor([[-1.0, -2.0], [-3.0, 0.0]]), torch.tensor([[-1.5, -2.0], [-2.75, -9.0]])
    assert mean_distance(drawn, scored, torch.tensor([[1, 1], [1, 0]])).item() == pytest.approx(0.25)
