"""Cases for the decoder's kernels, computed by them and by plain PyTorch; on a CPU, a script that runs them interpreted."""

import sys
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812 (its usual name)

CASES: dict[str, dict[str, Any]] = {
    "one column": {"first": [0], "last": 0},
    "exactly a block": {"first": [0], "last": 63},
    "a block and one": {"first": [0], "last": 64},
    "the cache is full": {"first": [0, 17], "last": 199},
    "one column in the middle of a share": {"first": [100], "last": 100},
    "rows of different lengths": {"first": [0, 5, 63, 64, 65, 130, 149, 150], "last": 150},
    "sixteen heads to two, of size 128": {"first": [3, 70], "last": 140, "heads": 16, "key_heads": 2, "d": 128},
    "as many key heads as heads": {"first": [3, 70], "last": 140, "heads": 3, "key_heads": 3},
    "a row with one column beside one with all": {"first": [0, 150], "last": 150},
    "shares of two blocks": {"first": [0, 129, 64], "last": 190, "share": 128},
    "one share": {"first": [7, 150], "last": 190, "share": 256},
}
LENGTH = 200


class Inputs:
    """What a case is about, drawn at random; what no query may see is filled with what would show in the result."""

    def __init__(self, case: dict[str, Any], dtype: torch.dtype, device: str) -> None:
        draw = torch.Generator().manual_seed(len(str(case)))
        n, d = len(case["first"]), case.get("d", 32)
        n_heads, n_key_heads = case.get("heads", 4), case.get("key_heads", 2)
        self.share: int | None = case.get("share", 64)
        self.first, self.last = torch.tensor(case["first"]).to(device), torch.tensor([case["last"]]).to(device)
        column = torch.arange(LENGTH, device=device)
        self.seen = (column >= self.first[:, None]) & (column <= self.last)

        def drawn(*size: int) -> torch.Tensor:
            return torch.randn(*size, generator=draw).to(device, dtype)

        self.query = drawn(n, n_heads, d) * 3
        self.keys, self.values = (
            drawn(n, n_key_heads, LENGTH, d).masked_fill(~self.seen[:, None, :, None], torch.nan) for _ in range(2)
        )

    def attended(self) -> torch.Tensor:
        """By plain softmax in float32, over the columns that are seen."""
        group = self.query.size(1) // self.keys.size(1)
        rows = []
        for query, keys, values, seen in zip(self.query, self.keys, self.values, self.seen, strict=True):
            own = [x[:, seen].float().repeat_interleave(group, 0) for x in (keys, values)]
            weights = (query.float()[:, None] @ own[0].mT * 0.3).softmax(-1)
            rows.append((weights @ own[1]).flatten())
        return torch.stack(rows)


def check_attention(name: str, dtype: torch.dtype, device: str, tolerance: float) -> None:
    from videothinker.models.decode_kernels import attend_filled

    case = Inputs(CASES[name], dtype, device)
    found = attend_filled(case.query, case.keys, case.values, case.first, case.last, scale=0.3, share=case.share)
    torch.testing.assert_close(found.float(), case.attended(), rtol=tolerance, atol=tolerance)


def check_by_hand(device: str) -> None:
    """Scores of 0 and ln 3 weigh values 1 and 5 with 1/4 and 3/4; values elsewhere in the cache do not count."""
    from videothinker.models.decode_kernels import attend_filled

    query = torch.zeros(1, 1, 16, device=device)
    query[..., 0] = 1
    keys, values = torch.full((2, 1, 1, 128, 16), 99.0, device=device)
    keys[..., 63:65, :], keys[..., 64, 0] = 0, torch.log(torch.tensor(3.0)).to(device)
    values[..., 63, :], values[..., 64, :] = 1, 5
    first, last = torch.tensor([63], device=device), torch.tensor([64], device=device)
    found = attend_filled(query, keys, values, first, last, scale=1.0, share=64)
    torch.testing.assert_close(found, torch.full((1, 16), 4.0, device=device))


def check_the_rest(dtype: torch.dtype, device: str, tolerance: float) -> None:
    """Rotation and writing, sum and norm, gate: against PyTorch's operations on the same numbers."""
    from videothinker.models import decode_kernels as kernels
    from videothinker.models.text_layers import rotation

    draw = torch.Generator().manual_seed(1)

    def drawn(*size: int) -> torch.Tensor:
        return torch.randn(*size, generator=draw).to(device, dtype)

    n, n_heads, n_key_heads, d = 3, 6, 2, 32
    rope: Any = type("Rope", (), {"inv_freq": 0.1 ** torch.arange(d // 2, device=device), "attention_scaling": 1.0})
    turned = rotation(rope, torch.tensor([0, 7, 40], device=device), dtype)
    together = drawn(n, (n_heads + 2 * n_key_heads) * d)
    query, key, value = together.split([n_heads * d, n_key_heads * d, n_key_heads * d], 1)
    cache = drawn(2, n, n_key_heads, 10, d)
    expected = cache.clone().float()
    cos, sin = (x.float() for x in turned)
    rotated = [x.float().reshape(n, -1, d) * cos + x.float().reshape(n, -1, d).roll(d // 2, -1) * sin for x in (query, key)]
    expected[0, :, :, 6], expected[1, :, :, 6] = rotated[1], value.float().reshape(n, -1, d)
    out = kernels.turn_and_write(query, key, value, turned, *cache, torch.tensor([6], device=device))
    close = {"rtol": tolerance, "atol": tolerance}
    torch.testing.assert_close(out.float(), rotated[0], **close)
    torch.testing.assert_close(cache.float(), expected, **close)
    for hidden in (48, 1024):
        states, more, weight = drawn(n, hidden), drawn(n, hidden), drawn(hidden)
        added, normed = kernels.add_and_norm(states, more, weight, 1e-6)
        assert torch.equal(added, states + more)
        by_hand = F.rms_norm(added.float(), (hidden,), weight.float(), 1e-6)
        torch.testing.assert_close(normed.float(), by_hand, **close)
    gate, up = drawn(n, 2600).split(1300, 1)
    torch.testing.assert_close(kernels.gated(gate, up).float(), F.silu(gate.float()) * up.float(), **close)


def check_layers(folder: Path, dtype: torch.dtype, device: str, tolerance: float) -> None:
    """Steps of a whole model, by the kernels and by PyTorch, behind the same cache: the first step's logits and what it writes.

    Later steps of half precision may read other tokens, for two of them are often as likely.
    """
    from transformers import AutoModelForImageTextToText

    from videothinker.models import decode_kernels
    from videothinker.models.decoder import Decoder, TokenChoice
    from videothinker.models.fused_layers import FusedLayers
    from videothinker.models.reply_state import ReplyState

    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype).eval().to(device)
    logits: list[torch.Tensor] = []
    model.lm_head.register_forward_hook(lambda _module, _args, found: logits.append(found.float()))
    found = []
    with torch.inference_mode():
        for kernels in (None, decode_kernels):
            torch.manual_seed(0)
            state = ReplyState(Decoder(model, eos=[], pad=0, graphs=False), 3, 64, 4, TokenChoice())
            state._fused = None if kernels is None else FusedLayers(model.model.language_model, kernels)
            state._cache.copy_(torch.randn(state._cache.shape).to(device, dtype))
            state.begin_behind([64, 1, 30])
            replies, _ = state.run(torch.eye(3, model.config.get_text_config().vocab_size).to(device), _positions(device), None)
            found.append((replies.tolist(), logits[0], state._cache[..., :65, :].float()))
            logits.clear()
    (plain, *numbers), (ours, *others) = found
    assert dtype != torch.float32 or ours == plain
    for theirs, mine in zip(numbers, others, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=tolerance, atol=tolerance)


def _positions(device: str) -> torch.Tensor:
    return torch.tensor([64, 1, 30], device=device)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in CASES:
        check_attention(name, torch.float32, "cpu", 1e-5)
    for name in ("rows of different lengths", "sixteen heads to two, of size 128"):
        check_attention(name, torch.float16, "cpu", 5e-3)
    check_by_hand("cpu")
    check_the_rest(torch.float32, "cpu", 1e-5)
    check_the_rest(torch.float16, "cpu", 5e-3)
    check_layers(Path(sys.argv[1]), torch.float32, "cpu", 1e-4)
