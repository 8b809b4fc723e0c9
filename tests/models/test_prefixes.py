"""What prompts about one clip share goes through the model once, and changes no reply."""

from typing import Any

import numpy as np
import pytest
import torch

from videothinker.models.decoder import Decoder
from videothinker.models.prefixes import Prefix, shared_prefixes
from videothinker.models.vision import SeenClip
from videothinker.train.clips import Encoded

VIDEO = 9


def found(prompts: list[list[int]], clips: str) -> list[Prefix]:
    return shared_prefixes([np.array(prompt) for prompt in prompts], clips, VIDEO)


def test_prompts_share_up_to_where_the_first_of_them_differs() -> None:
    prompts = [[1, 9, 9, 2, 3, 4], [1, 9, 9, 2, 3, 5, 6], [1, 9, 2, 3], [1, 9, 9, 2, 7]]
    assert found(prompts, "aaba") == [Prefix(4, [0, 1, 3]), Prefix(3, [2])]


def test_a_prompts_last_token_is_its_own() -> None:
    assert found([[1, 9, 2, 3], [1, 9, 2, 3]], "aa") == [Prefix(3, [0, 1])]
    assert found([[1, 9, 2], [1, 9, 2, 3]], "aa") == [Prefix(2, [0, 1])], "one is the other's beginning"


def test_prompts_that_differ_before_their_clip_ends_share_nothing() -> None:
    assert found([[1, 9, 9, 2], [8, 9, 9, 2]], "aa") == [Prefix(3, [0]), Prefix(3, [1])]


@pytest.fixture
def questions(encoded: Encoded, clips: list[SeenClip]) -> tuple[list[list[int]], list[SeenClip]]:
    """Three questions about one clip, which differ in their last 4, 4 and 9 tokens, beside one about another clip."""
    about, other = encoded.prompt_ids[0], encoded.prompt_ids[1]
    ends = [[11, 12, 13, 14], [21, 22, 23, 24], [31, *range(40, 48)]]
    return [about + ends[0], other, about + ends[1], about + ends[2]], [clips[0], clips[1], clips[0], clips[0]]


def test_the_tokens_that_pass_by_hand(model: Any, questions: tuple[list[list[int]], list[SeenClip]]) -> None:
    prompts, clips = questions
    one = Decoder(model, eos=[], pad=0)
    one.reply(prompts, clips, rows=[0, 1, 1, 2, 3, 0], max_new_tokens=2)
    assert one.n_passed == (len(prompts[0]) - 4) + 4 + 4 + 9 + len(prompts[1])
    before = one.n_passed
    one.reply(prompts[:2], clips[:2], max_new_tokens=2)
    assert one.n_passed - before == len(prompts[0]) + len(prompts[1]), "alone, nothing is shared"


def test_a_clip_passes_the_language_model_once(
    model: Any, questions: tuple[list[list[int]], list[SeenClip]], monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes, inner = [], model.model.language_model.forward

    def watched(**inputs: Any) -> Any:
        shapes.append(tuple(inputs["inputs_embeds"].shape[:2]))
        return inner(**inputs)

    monkeypatch.setattr(model.model.language_model, "forward", watched)
    prompts, clips = questions
    Decoder(model, eos=[], pad=0).reply(prompts, clips, max_new_tokens=2)
    longest = max(len(prompts[0]) - 4, len(prompts[1]) - 1)
    assert shapes == [(2, -(-longest // 8) * 8)]


def test_shared_or_alone_replies_are_the_same(model: Any, questions: tuple[list[list[int]], list[SeenClip]]) -> None:
    prompts, clips = questions
    together = Decoder(model, eos=[], pad=0).write(prompts, clips, max_new_tokens=12)
    for prompt, clip, reply in zip(prompts, clips, together, strict=True):
        (alone,) = Decoder(model, eos=[], pad=0).write([prompt], [clip], max_new_tokens=12)
        assert reply.tokens == alone.tokens
        torch.testing.assert_close(torch.tensor(reply.logprobs), torch.tensor(alone.logprobs), rtol=0, atol=2e-5)
