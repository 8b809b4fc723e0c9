"""Noise that is a hash of seed, step and token, so that a draw does not depend on the batch, the engine or the device.

The token whose score divided by exponential noise is largest is a draw from the scores taken as weights. Every engine that
draws on this noise therefore draws the same tokens, up to the rounding of logits.
"""

from collections.abc import Sequence

import torch


def seed_words(seeds: Sequence[int]) -> torch.Tensor:
    """Seeds, 0 to 2**64 - 1, in the form that `hashed_noise` takes: (2, n_rows, 1) int32, the high words first."""
    return torch.tensor([[_signed(seed >> 32), _signed(seed)] for seed in seeds], dtype=torch.int32).T[..., None]


def hashed_noise(words: torch.Tensor, step: torch.Tensor, n_tokens: int) -> torch.Tensor:
    """Exponential noise, (n_rows, n_tokens) float32, for token number `step` (1,) of each reply. words: from `seed_words`."""
    number = torch.arange(n_tokens, dtype=torch.int32, device=words.device) + step.int() * n_tokens
    bits = _mixed(_mixed(number * _GOLDEN ^ words[0]) ^ words[1])
    # The top 23 bits make odd multiples of 2**-24, which are never 0 and never 1, so that the logarithm is finite and not 0.
    uniform = ((bits >> 9 & 0x7FFFFF) * 2 + 1).float() * 2.0**-24
    return -uniform.log()


def _signed(word: int) -> int:
    """The low 32 bits as an int32."""
    return (word + 2**31) % 2**32 - 2**31


_GOLDEN, _FIRST, _SECOND = (_signed(word) for word in (0x9E3779B9, 0x85EBCA6B, 0xC2B2AE35))


def _mixed(bits: torch.Tensor) -> torch.Tensor:
    """MurmurHash3's last step on int32, in which every bit of the input moves every bit of the output.

    A right shift of an int32 copies the sign bit; the masks make it the unsigned shift that the hash is defined with.
    """
    bits = (bits ^ (bits >> 16 & 0xFFFF)) * _FIRST
    bits = (bits ^ (bits >> 13 & 0x7FFFF)) * _SECOND
    return bits ^ (bits >> 16 & 0xFFFF)
