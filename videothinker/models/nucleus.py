"""Nucleus sampling: a draw among the likeliest tokens alone (Holtzman et al., The curious case of neural text degeneration)."""

import torch


def nucleus(chances: torch.Tensor, top_p: float) -> torch.Tensor:
    """The chances with all tokens outside the nucleus at 0, not normalised again: a race between them needs no more.

    The nucleus is the shortest list of likeliest tokens whose chances sum to at least `top_p`. The likeliest token is always in
    it, so that a small `top_p` is greedy decoding. Tokens of equal chance go in by the order in which `torch.sort` puts them.

    chances: (n_rows, V) float32, each row summing to 1. top_p: above 0, at most 1, which keeps all.
    """
    if top_p >= 1:
        return chances
    ordered, tokens = chances.sort(dim=-1, descending=True, stable=True)
    before = ordered.cumsum(-1) - ordered  # what the likelier tokens sum to
    kept = torch.where(before < top_p, ordered, 0.0)
    return torch.zeros_like(chances).scatter(-1, tokens, kept)
