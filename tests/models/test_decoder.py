"""The decoder writes what `generate` writes, and draws as its softmax says."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from models.prompts import padded
from transformers import AutoModelForImageTextToText

from videothinker.models.decoder import Decoder, TokenChoice
from videothinker.models.reply_state import ReplyState
from videothinker.models.sharpen import sharpen
from videothinker.models.vision import SeenClip, see
from videothinker.train.clips import Encoded


def decoder(model: Any, **changes: Any) -> Decoder:
    config = model.config
    settings = {"eos": [], "pad": 0, "suppress": [config.image_token_id, config.video_token_id]}
    return Decoder(model, **settings | changes)


def test_greedy_it_writes_what_generate_writes(model: Any, encoded: Encoded, clips: list[SeenClip]) -> None:
    ids, mask = padded(encoded)
    assert not mask.all(), "no padding was exercised"
    chosen = [encoded.clips[row] for row in encoded.rows]
    with torch.no_grad():
        theirs = model.generate(
            input_ids=ids,
            attention_mask=mask,
            mm_token_type_ids=2 * (ids == model.config.video_token_id).int(),
            pixel_values_videos=torch.cat([clip.patches for clip in chosen]),
            video_grid_thw=torch.tensor([clip.grid for clip in chosen]),
            second_per_grid_ts=torch.tensor([clip.seconds_per_pair for clip in chosen]),
            do_sample=False,
            max_new_tokens=14,
            eos_token_id=model.config.get_text_config().vocab_size,
            suppress_tokens=[model.config.image_token_id, model.config.video_token_id],
        )[:, ids.size(1) :]
    assert decoder(model).reply(encoded.prompt_ids, clips, max_new_tokens=14) == theirs.tolist()


def test_a_second_batch_uses_the_firsts_cache_and_shows_no_trace_of_it(
    model: Any, encoded: Encoded, clips: list[SeenClip]
) -> None:
    one = decoder(model)
    one.reply(encoded.prompt_ids, clips, max_new_tokens=9)
    kept = list(one._states.values())
    again = [*reversed(encoded.prompt_ids)], [*reversed(clips)]
    assert one.reply(*again, max_new_tokens=9) == decoder(model).reply(*again, max_new_tokens=9)
    assert list(one._states.values()) == kept
    one.forget()
    assert one.n_bytes == 0


def test_replies_to_one_prompt_share_it(model: Any, encoded: Encoded, clips: list[SeenClip]) -> None:
    rows = [0, 0, 1, 3, 1]
    shared = decoder(model).reply(encoded.prompt_ids, clips, rows=rows, max_new_tokens=8)
    alone = decoder(model).reply([encoded.prompt_ids[r] for r in rows], [clips[r] for r in rows], max_new_tokens=8)
    assert shared == alone


def test_prompts_read_in_parts_are_the_same_prompts(
    model: Any, encoded: Encoded, clips: list[SeenClip], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = decoder(model).reply(encoded.prompt_ids, clips, rows=[3, 0, 2, 1], max_new_tokens=8)
    monkeypatch.setattr("videothinker.models.prefill._PROMPT_TOKENS", 1)
    assert decoder(model).reply(encoded.prompt_ids, clips, rows=[3, 0, 2, 1], max_new_tokens=8) == whole


def test_seeded_draws_depend_on_the_seed_and_not_on_the_batch(model: Any, encoded: Encoded, clips: list[SeenClip]) -> None:
    seeds = [2**64 - 1, 5, 2**33, 5]
    prompts, seen = [encoded.prompt_ids[0]] * 4, [clips[0]] * 4
    together = decoder(model).reply(prompts, seen, choice=TokenChoice(5.0, seeds), max_new_tokens=12)
    alone = [decoder(model).reply(prompts[:1], seen[:1], choice=TokenChoice(5.0, [s]), max_new_tokens=12)[0] for s in seeds]
    assert together == alone
    assert together[1] == together[3]
    assert len({tuple(reply) for reply in together}) == 3
    assert min(len(set(reply)) for reply in together) > 6, "a step's noise comes back"


def test_a_prompt_that_does_not_hold_its_clip_is_refused(model: Any, encoded: Encoded, clips: list[SeenClip]) -> None:
    with pytest.raises(ValueError, match="video tokens"):
        decoder(model).reply(encoded.prompt_ids, [clips[1], *clips[1:]], max_new_tokens=2)


@pytest.mark.parametrize("seeded", [False, True])
def test_draws_follow_the_models_distribution_without_the_suppressed_tokens(model: Any, seeded: bool) -> None:
    """20,000 draws against the softmax; chi-square over the 20 likeliest, false alarm 1e-4."""
    torch.manual_seed(3)
    n, one = 20_000, decoder(model)
    logits = torch.randn(model.config.get_text_config().vocab_size)
    choice = TokenChoice(0.5, range(n) if seeded else None)
    state = ReplyState(one, n, 0, 1, choice)
    replies, _ = state.run(logits.expand(n, -1), torch.zeros(n, dtype=torch.long), choice.seeds)
    logits[one.suppress] = -torch.inf
    chances = (logits / 0.5).softmax(-1)
    top = chances.topk(20)
    counts = torch.bincount(replies[:, 0], minlength=len(chances))
    rest = n - counts[top.indices].sum()
    observed = torch.cat([counts[top.indices], rest[None]]).float()
    expected = torch.cat([top.values, (1 - top.values.sum())[None]]) * n
    assert ((observed - expected) ** 2 / expected).sum() < 55  # 20 degrees of freedom
    assert counts[one.suppress].sum() == 0


@pytest.mark.parametrize("choice", [TokenChoice(), TokenChoice(2.0), TokenChoice(0.7, [3, 1, 2**40, 7])])
def test_log_probabilities_are_those_of_a_plain_forward_pass(
    model: Any, encoded: Encoded, clips: list[SeenClip], choice: TokenChoice
) -> None:
    """Over prompt and reply together, one row at a time, padded nowhere. The likeliest first tokens are suppressed too."""
    likeliest = {reply[0] for reply in decoder(model).reply(encoded.prompt_ids, clips, max_new_tokens=1)}
    hidden = [model.config.image_token_id, model.config.video_token_id, *likeliest]
    some = decoder(model, suppress=hidden).reply(encoded.prompt_ids, clips, max_new_tokens=9, choice=choice)
    ending = decoder(model, suppress=hidden, eos=[some[0][4]])  # so that some replies end before others
    torch.manual_seed(4)
    written = ending.write(encoded.prompt_ids, clips, max_new_tokens=9, choice=choice)
    torch.manual_seed(4)
    assert ending.reply(encoded.prompt_ids, clips, max_new_tokens=9, choice=choice) == [reply.tokens for reply in written]
    for prompt, clip_row, reply in zip(encoded.prompt_ids, encoded.rows, written, strict=True):
        clip = encoded.clips[clip_row]
        ids = torch.tensor([prompt + reply.tokens])
        with torch.no_grad():
            logits = model(
                input_ids=ids,
                mm_token_type_ids=2 * (ids == model.config.video_token_id).int(),
                pixel_values_videos=clip.patches,
                video_grid_thw=torch.tensor([clip.grid]),
                second_per_grid_ts=torch.tensor([clip.seconds_per_pair]),
            ).logits[0, len(prompt) - 1 : -1]
        logits[:, hidden] = -torch.inf
        expected = logits.log_softmax(-1)[range(len(reply.tokens)), reply.tokens]
        torch.testing.assert_close(torch.tensor(reply.logprobs), expected, rtol=0, atol=2e-5)
        assert not set(hidden) & set(reply.tokens)


def test_log_probabilities_by_hand(model: Any) -> None:
    """Four tokens may be chosen, with logits 0, ln 2, ln 4 and ln 9: chances 1/16, 2/16, 4/16 and 9/16 at any temperature."""
    size = model.config.get_text_config().vocab_size
    logits = torch.full((1, size), 50.0)  # suppressed, so the large values do not count
    logits[0, 4:8] = torch.tensor([1.0, 2.0, 4.0, 9.0]).log()
    one = decoder(model, suppress=[i for i in range(size) if not 4 <= i < 8])
    replies, logprobs = ReplyState(one, 1, 32, 1, TokenChoice()).run(logits, torch.zeros(1, dtype=torch.long), None)
    assert replies.tolist() == [[7]]
    assert logprobs.item() == pytest.approx(math.log(9 / 16), abs=1e-6)
    seeds = range(40)
    state = ReplyState(one, 40, 32, 1, TokenChoice(2.0, seeds))
    replies, logprobs = state.run(logits.expand(40, -1), torch.zeros(40, dtype=torch.long), seeds)
    assert len(set(replies[:, 0].tolist())) == 4
    chances = torch.tensor([1.0, 2.0, 4.0, 9.0]) / 16
    torch.testing.assert_close(logprobs, chances.log()[replies - 4])


def test_a_reply_ends_with_its_first_end_token(model: Any, encoded: Encoded, clips: list[SeenClip]) -> None:
    full = decoder(model).reply(encoded.prompt_ids, clips, max_new_tokens=20)
    end = full[0][5]
    cut = decoder(model, eos=[end]).reply(encoded.prompt_ids, clips, max_new_tokens=20)
    for whole, reply in zip(full, cut, strict=True):
        first = whole.index(end) if end in whole else len(whole) - 1
        assert reply == whole[: first + 1]


@torch.inference_mode()
def test_every_choice_of_the_decoder_is_made_on_sharpened_logits(assets: Path, encoded: Encoded) -> None:
    model = AutoModelForImageTextToText.from_pretrained(assets / "start", dtype=torch.bfloat16).eval()
    sharpen(model)
    logits: list[torch.Tensor] = []
    model.lm_head.register_forward_hook(lambda _module, _args, found: logits.append(found))
    found = see(
        model,
        [clip.patches for clip in encoded.clips],
        [clip.grid for clip in encoded.clips],
        [clip.seconds_per_pair for clip in encoded.clips],
    )
    replies = decoder(model, suppress=[]).reply(encoded.prompt_ids, [found[row] for row in encoded.rows], max_new_tokens=3)
    assert {each.dtype for each in logits} == {torch.float32}
    chosen = [each.argmax(-1).tolist() for each in logits]
    assert [list(reply) for reply in replies] == [list(tokens) for tokens in zip(*chosen[:3], strict=True)]


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_what_a_gpu_does_before_a_capture_writes_inside_its_buffers(
    model: Any, encoded: Encoded, clips: list[SeenClip], monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    """On a GPU an index behind the end is an assertion that ends the process, so it is looked for here, on the CPU."""
    expected = decoder(model).reply(encoded.prompt_ids, clips, max_new_tokens=limit)
    room: list[tuple[int, int]] = []

    def watched(write: Any) -> Any:
        def checked(into: torch.Tensor, dim: int, index: torch.Tensor, values: Any) -> torch.Tensor:
            room.extend((i, into.size(dim)) for i in index.tolist())
            written: torch.Tensor = write(into, dim, index, values)
            return written

        return checked

    for name in ("index_copy_", "index_fill_"):
        monkeypatch.setattr(torch.Tensor, name, watched(getattr(torch.Tensor, name)))
    warmed = []
    monkeypatch.setattr(ReplyState, "_capture", lambda state: warmed.append(state._warm_up()))

    def on_a_gpu(state: ReplyState, *args: Any, init: Any = ReplyState.__init__) -> None:
        init(state, *args)
        state._graphs = True

    monkeypatch.setattr(ReplyState, "__init__", on_a_gpu)
    assert decoder(model).reply(encoded.prompt_ids, clips, max_new_tokens=limit) == expected
    assert len(warmed) == (limit > 1)
    assert room
    assert all(0 <= index < size for index, size in room)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("limit", [1, 2, 3, 17])
def test_a_captured_graph_writes_up_to_any_limit(assets: Path, encoded: Encoded, limit: int) -> None:
    model = AutoModelForImageTextToText.from_pretrained(assets / "start", dtype=torch.float32).eval().cuda()
    with torch.no_grad():
        found = see(
            model,
            [clip.patches.cuda() for clip in encoded.clips],
            [clip.grid for clip in encoded.clips],
            [clip.seconds_per_pair for clip in encoded.clips],
        )
    clips = [found[row] for row in encoded.rows]
    graphed = decoder(model)
    for _ in range(2):  # captures, then replays what it has
        replies = graphed.write(encoded.prompt_ids, clips, max_new_tokens=limit)
        plain = decoder(model, graphs=False).write(encoded.prompt_ids, clips, max_new_tokens=limit)
        assert [reply.tokens for reply in replies] == [reply.tokens for reply in plain]
        for reply, other in zip(replies, plain, strict=True):
            assert reply.logprobs == pytest.approx(other.logprobs, abs=1e-4)
    assert {len(reply.tokens) for reply in replies} == {limit}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_captured_graph_sharpens_too(assets: Path, encoded: Encoded, monkeypatch: pytest.MonkeyPatch) -> None:
    model = AutoModelForImageTextToText.from_pretrained(assets / "start", dtype=torch.bfloat16).eval().cuda()
    sharpen(model)
    with torch.no_grad():
        found = see(
            model,
            [clip.patches.cuda() for clip in encoded.clips],
            [clip.grid for clip in encoded.clips],
            [clip.seconds_per_pair for clip in encoded.clips],
        )
    clips = [found[row] for row in encoded.rows]
    captured = []
    monkeypatch.setattr(
        ReplyState, "_capture", lambda self, capture=ReplyState._capture: (capture(self), captured.append(self._graph))
    )
    graphed = decoder(model).reply(encoded.prompt_ids, clips, max_new_tokens=12)
    assert captured
    assert None not in captured
    monkeypatch.setattr(ReplyState, "_capture", lambda self: None)
    assert decoder(model).reply(encoded.prompt_ids, clips, max_new_tokens=12) == graphed
