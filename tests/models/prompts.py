"""Prompts as a batch, for the tests of this folder."""

import torch

from videothinker.train.clips import Encoded


def padded(encoded: Encoded) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(map(len, encoded.prompt_ids))
    ids = [[0] * (width - len(row)) + row for row in encoded.prompt_ids]
    return torch.tensor(ids), torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in encoded.prompt_ids])
