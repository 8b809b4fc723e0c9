"""Sampling among the likeliest tokens alone."""

from typing import Any

import pytest
import torch
from diagnose.asking import replies
from transformers.generation.logits_process import TopPLogitsWarper

from videothinker.diagnose.engines.choosing import Race
from videothinker.models.decoder import TokenChoice
from videothinker.models.nucleus import nucleus
from videothinker.models.reply_state import ReplyState

CHANCES = torch.tensor([[0.1, 0.4, 0.2, 0.3]])


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [
        (1.0, [0.1, 0.4, 0.2, 0.3]),
        (0.95, [0.1, 0.4, 0.2, 0.3]),
        (0.85, [0.0, 0.4, 0.2, 0.3]),
        (0.6, [0.0, 0.4, 0.0, 0.3]),
        (0.001, [0.0, 0.4, 0.0, 0.0]),
    ],
)
def test_the_shortest_list_that_sums_to_top_p_is_kept(top_p: float, kept: list[float]) -> None:
    torch.testing.assert_close(nucleus(CHANCES, top_p), torch.tensor([kept]))


def test_rows_are_cut_each_by_itself_and_ties_leave_one() -> None:
    rows = torch.stack([CHANCES[0], torch.full((4,), 0.25)])
    assert (nucleus(rows, 0.4) > 0).sum(-1).tolist() == [1, 2]
    assert (nucleus(rows, 0.2) > 0).sum(-1).tolist() == [1, 1]


def test_it_keeps_what_transformers_keeps() -> None:
    torch.manual_seed(0)
    logits = 3 * torch.randn(50, 200)
    for top_p in (0.001, 0.3, 0.8, 0.99):
        theirs = TopPLogitsWarper(top_p)(None, logits) > -torch.inf
        assert ((nucleus(logits.softmax(-1), top_p) > 0) == theirs).float().mean() > 0.9999  # but for rounding at the edge


def test_draws_stay_in_the_nucleus_with_its_shares() -> None:
    """0.4 and 0.3 of four tokens make a nucleus of 0.6, whose draws are in 4 to 3."""
    n = 4000
    race = Race(1.0, range(n), top_p=0.6)
    counts = race(CHANCES.log().expand(n, 4)).argmax(1).bincount(minlength=4)
    assert counts[[0, 2]].tolist() == [0, 0]
    assert abs(counts[1] / n - 4 / 7) < 5 * (4 / 7 * 3 / 7 / n) ** 0.5


def test_the_decoder_draws_in_the_nucleus(model: Any) -> None:
    from videothinker.models.decoder import Decoder

    size, n = model.config.get_text_config().vocab_size, 2000
    logits = torch.full((1, size), -torch.inf)
    logits[0, 4:8] = CHANCES[0].log()
    one, choice = Decoder(model, eos=[2], pad=0), TokenChoice(1.0, range(n), top_p=0.6)
    drawn, _ = ReplyState(one, n, 32, 1, choice).run(logits.expand(n, -1), torch.zeros(n, dtype=torch.long), choice.seeds)
    race = Race(1.0, range(n), top_p=0.6)(logits.expand(n, -1)).argmax(1)
    assert drawn[:, 0].tolist() == race.tolist(), "the engines draw the same tokens"
    assert set(race.tolist()) == {5, 7}


def test_a_small_nucleus_is_greedy_in_both_engines(taught: Any, colours: Any) -> None:
    greedy = replies(taught, colours)
    for engine in ("transformers", "graphs"):
        assert replies(taught, colours, temperature=2.0, top_p=0.001, engine=engine) == greedy
