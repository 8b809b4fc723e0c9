"""What chooses tokens inside transformers' `generate`, and what ends replies there."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import LogitsProcessor, StoppingCriteria

from videothinker.diagnose.reply import Reply
from videothinker.diagnose.stopping import Watch
from videothinker.models.noise import hashed_noise, seed_words
from videothinker.models.nucleus import nucleus

_BEGINNING = 64
"""Tokens after which replies are left that have come to no answer yet, for the sake of the others."""


class Chooser(LogitsProcessor):  # type: ignore[misc]
    """Keeps the log-probability of every token that `generate` chooses, which is the one with the largest score.

    Only the chosen tokens' numbers are kept: the logits of a batch's whole replies are gigabytes.
    """

    def __init__(self, race: "Race | None") -> None:
        self._race = race
        self._steps: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """(B, V) float32 logits -> (B, V) scores: the logits themselves or, for a draw, those of the race."""
        logits, scores = scores, scores if self._race is None else self._race(scores)
        self._steps.append(logits.log_softmax(-1).gather(1, scores.argmax(-1, keepdim=True)))
        return scores

    def logprobs(self) -> list[list[float]]:
        """One list per row, with a number for each token that was chosen, also for those after the row's end."""
        found: list[list[float]] = torch.cat(self._steps, 1).tolist()
        return found


class Stopping(StoppingCriteria):  # type: ignore[misc]
    """Ends rows behind their first answers; `chooser` knows how likely their tokens were.

    before: what was written of each reply before. leaves: all rows end once it is decided of each, or after `_BEGINNING`
    tokens.
    """

    def __init__(
        self, watch: Watch, n_prompt: int, chooser: Chooser, before: Sequence[Reply] = (), *, leaves: bool = False
    ) -> None:
        self._watch, self._n_prompt, self._chooser, self._leaves = watch, n_prompt, chooser, leaves
        self._before = before
        self._stopped: torch.Tensor | None = None

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        """(B, tokens) ids, those of the prompts first -> (B,): which rows end here, or have ended."""
        written = input_ids[:, self._n_prompt :]
        if self._stopped is None or not self._watch.done:
            tokens, logprobs = written.tolist(), self._chooser.logprobs()
            if self._before:
                tokens = [[*begun.tokens, *new] for begun, new in zip(self._before, tokens, strict=True)]
                logprobs = [[*begun.logprobs, *new] for begun, new in zip(self._before, logprobs, strict=True)]
            self._stopped = torch.tensor(self._watch.look(tokens, logprobs), device=input_ids.device)
        if self._leaves and (self._watch.done or written.size(1) >= _BEGINNING):
            return torch.ones_like(self._stopped)
        return self._stopped


class Race:
    """Turns the largest score into a draw at a temperature, on the noise that `models.decoder` draws on.

    Of exponential times with rates softmax(logits / temperature), the least is each token's with its probability. The scores
    are the negative logarithms of these times, up to a constant; tokens outside the nucleus of `top_p` do not run.
    """

    def __init__(
        self, temperature: float, seeds: Sequence[int], top_p: float = 1.0, n_before: Sequence[int] | None = None
    ) -> None:
        """n_before: tokens of each reply that were written before, on which draws depend; None: none."""
        self._temperature, self._top_p, self._words = temperature, top_p, seed_words(seeds)
        self._step = torch.tensor(n_before or [0] * len(seeds))[:, None]

    def __call__(self, logits: torch.Tensor) -> torch.Tensor:
        """(B, V) logits -> (B, V) scores whose largest is a draw."""
        self._words = self._words.to(logits.device)
        step = self._step.to(logits.device)
        self._step = step + 1
        logits = logits.float() / self._temperature
        if self._top_p < 1:
            logits = logits.masked_fill(nucleus(logits.softmax(-1), self._top_p) == 0, -torch.inf)
        return logits - hashed_noise(self._words, step, logits.shape[1]).log()
