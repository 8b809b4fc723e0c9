"""`--engine vllm`: a stand-in `vllm` module in this process and in a child, and the real one where VT_VLLM_PYTHON names it."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from diagnose.asking import settings
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoProcessor

from videothinker.answers import Style
from videothinker.curated import Curated
from videothinker.diagnose import vllm_check, vllm_child, vllm_worker
from videothinker.diagnose.answerer import RawReply
from videothinker.diagnose.checkpoint_answerer import open_checkpoint
from videothinker.diagnose.engines.base import reply_seed
from videothinker.diagnose.openers import OPENERS, Opening
from videothinker.diagnose.vllm_answerer import VllmAnswerer, check, open_served
from videothinker.errors import VtError
from videothinker.models import text_positions
from videothinker.models.text_positions import TextPositions
from videothinker.recipes import doctor

REAL = os.environ.get(vllm_child.PYTHON)
REPO = Path(__file__).parents[2]


def asked(ref: Path, curated: Curated, **changes: Any) -> tuple[VllmAnswerer, list[RawReply]]:
    chosen = settings(engine="vllm", **changes)
    answerer = VllmAnswerer(open_served(str(ref), chosen), curated=curated, settings=chosen)
    return answerer, list(answerer.answer(curated.questions("dev")))


def test_vllm_is_given_our_frames_times_and_settings(original: Path, colours: Curated, stand_in: Any) -> None:
    answerer, found = asked(original, colours, n_frames=4, max_new_tokens=9, temperature=0.7, top_p=0.9, seed=3)
    questions = colours.questions("dev")
    assert {reply.question_id for reply in found} == {question.question_id for question in questions}
    (loaded,) = stand_in.LLM.loaded
    assert loaded["model"] == str(original)
    assert loaded["dtype"] == "float32"
    prompts, params = stand_in.LLM.asked[-1]
    frames, told = prompts[0]["multi_modal_data"]["video"][0]
    assert frames.dtype == np.uint8
    assert frames.shape[0] == 4
    assert len(told["frames_indices"]) == 4
    assert told["duration"] == pytest.approx(told["total_num_frames"] / told["fps"])
    assert told["do_sample_frames"] is False
    assert prompts[0]["mm_processor_kwargs"]["do_sample_frames"] is False
    assert (params[0].temperature, params[0].top_p, params[0].max_tokens) == (0.7, 0.9, 9)
    assert params[0].seed == reply_seed(3, questions[0].question_id)
    placeholders = json.loads((original / "config.json").read_text())
    assert params[0].logit_bias == {placeholders["image_token_id"]: -100.0, placeholders["video_token_id"]: -100.0}
    assert answerer.describe()["prompt_length"] == {"compared": len(questions), "differ": 0}


def says(stand_in: Any, ref: Path, text: str, *, sure_of: str) -> Callable[[str], int]:
    """Have the stand-in write `text`, every token at probability 0.9 where the prompt has `sure_of`, and at 0.5 elsewhere.

    Returns a function from a beginning of the text to how many tokens that is.
    """
    tokenizer = AutoProcessor.from_pretrained(ref).tokenizer
    tokens = tokenizer.encode(text)
    stand_in.LLM.says = tokens
    # The two placeholders have a quarter each, so that half is left for all others.
    stand_in.LLM.sure = staticmethod(lambda prompt: [math.log((0.9 if sure_of in prompt else 0.5) / 2)] * (len(tokens) + 1))
    return lambda begins: next(n for n in range(len(tokens) + 1) if tokenizer.decode(tokens[:n]).startswith(begins))


TWICE = "\\boxed{A}<think>so</think>\\boxed{B}"


@pytest.mark.parametrize("sampled", [False, True])
def test_sure_replies_end_behind_their_first_box_and_the_others_go_on(
    original: Path, colours: Curated, stand_in: Any, sampled: bool
) -> None:
    n_until = says(stand_in, original, TWICE, sure_of=" not ")
    options = {"prompt": Style.TWICE, "max_new_tokens": 60, "temperature": 0.7 if sampled else 0.0}
    _, whole = asked(original, colours, **options)
    assert {each.reply for each in whole} == {TWICE}
    assert sorted({round(each.first.confidence, 6) for each in whole if each.first}) == [0.5, 0.9]
    del stand_in.LLM.asked[:]
    answerer, found = asked(original, colours, stop_at=0.9 - 1e-9, **options)
    (first, begun), (second, going) = stand_in.LLM.asked
    n_boxed, n_whole = n_until("\\boxed{A}"), len(stand_in.LLM.says) + 1
    for reply, full in zip(found, whole, strict=True):
        assert reply.first == full.first
        if reply.stopped:
            assert (reply.reply, reply.n_tokens, reply.truncated) == ("\\boxed{A}", n_boxed, False)
        else:
            assert (reply.reply, reply.n_tokens, reply.logprob) == (TWICE, n_whole, full.logprob)
    n_stopped = sum(reply.stopped for reply in found)
    assert 0 < n_stopped < len(found)
    assert (len(first), len(second)) == (len(found), len(found) - n_stopped)
    assert {(each.stop[0], each.max_tokens) for each in begun} == {("}", 60)}
    assert {(each.stop, each.max_tokens) for each in going} == {(None, 60 - n_boxed)}
    assert {tuple(prompt["prompt_token_ids"][-n_boxed:]) for prompt in second} == {tuple(stand_in.LLM.says[:n_boxed])}
    assert {each.seed for each in begun}.isdisjoint({each.seed for each in going}) or not sampled
    assert answerer.describe()["prompt_length"]["compared"] == len(found), "the second stage counts no prompt twice"


def test_a_brace_inside_the_box_is_no_end_of_it(original: Path, colours: Curated, stand_in: Any) -> None:
    said = "\\boxed{\\text{A}}<think>{so}</think>\\boxed{B}"
    says(stand_in, original, said, sure_of=" not ")
    del stand_in.LLM.asked[:]
    _, found = asked(original, colours, prompt=Style.TWICE, stop_at=0.8, max_new_tokens=60)
    assert {reply.reply for reply in found} == {said, "\\boxed{\\text{A}}"}
    assert [{each.stop and each.stop[0] for each in params} for _, params in stand_in.LLM.asked] == [{"}"}, {"}"}, {None}]


def test_a_limit_at_the_box_cuts_what_is_not_sure(original: Path, colours: Curated, stand_in: Any) -> None:
    n_until = says(stand_in, original, TWICE, sure_of=" not ")
    options = {"prompt": Style.TWICE, "stop_at": 0.8, "max_new_tokens": n_until("\\boxed{A}")}
    _, found = asked(original, colours, **options)
    assert {(reply.reply, reply.stopped, reply.truncated) for reply in found} == {
        ("\\boxed{A}", True, False),
        ("\\boxed{A}", False, True),
    }


def test_a_reply_that_would_be_gone_on_with_behind_other_tokens_is_refused(
    original: Path, colours: Curated, stand_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    says(stand_in, original, TWICE, sure_of="nothing")
    generate = stand_in.LLM.generate

    def otherwise(llm: Any, prompts: Any, *rest: Any, **options: Any) -> Any:
        llm.n_more = int("prompt_token_ids" in prompts[0])
        return generate(llm, prompts, *rest, **options)

    monkeypatch.setattr(stand_in.LLM, "generate", otherwise)
    with pytest.raises(VtError, match="would not go on with its reply"):
        asked(original, colours, prompt=Style.TWICE, stop_at=0.8, max_new_tokens=60)


def test_an_adapter_is_merged_once_and_kept(
    original: Path, tmp_path: Path, stand_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIDEOTHINKER_CACHE", str(tmp_path / "cache"))
    base = AutoModelForImageTextToText.from_pretrained(original, dtype="float32")
    before = base.model.language_model.layers[0].self_attn.q_proj.weight.detach().clone()
    lora = LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    get_peft_model(base, lora).save_pretrained(tmp_path / "adapter")
    mark = tmp_path / "adapter" / "adapter_config.json"
    mark.write_text(json.dumps({**json.loads(mark.read_text()), "base_model_name_or_path": str(original)}))
    served = open_served(str(tmp_path / "adapter"), settings(engine="vllm"))
    assert served.adapter
    merged = Path(stand_in.LLM.loaded[-1]["model"])
    assert merged.parent == tmp_path / "cache" / "merged"
    weights = load_file(merged / "model.safetensors")
    (name,) = [each for each in weights if each.endswith("layers.0.self_attn.q_proj.weight") and "visual" not in each]
    assert not weights[name].equal(before)
    written = (merged / "model.safetensors").stat().st_mtime_ns
    open_served(str(tmp_path / "adapter"), settings(engine="vllm"))
    assert (merged / "model.safetensors").stat().st_mtime_ns == written


def test_a_reply_is_read_with_its_probabilities(original: Path, colours: Curated, stand_in: Any) -> None:
    _, (first, *_) = asked(original, colours)
    assert first.n_tokens == 3  # two of text and the end, of log-probabilities -1, -2 and -3
    assert first.logprob == pytest.approx(-2 + math.log(2))  # where the two placeholders had a quarter each
    assert not first.truncated
    stand_in.LLM.finish = "length"
    _, (cut, *_) = asked(original, colours)
    assert cut.truncated


def test_a_prompt_of_another_length_is_refused(original: Path, colours: Curated, stand_in: Any) -> None:
    stand_in.LLM.n_more = 2
    with pytest.raises(VtError, match="was not shown the frames that were chosen"):
        asked(original, colours)


def test_a_child_replies_as_this_process_does(original: Path, colours: Curated, child_python: Path) -> None:
    answerer, found = asked(original, colours)
    assert found[0].logprob == pytest.approx(-2 + math.log(2))
    described = answerer.describe()
    assert described["engine"] == "vllm"
    assert described["text_positions"] == "original"
    assert sum(each["n_clips"] for each in described["fed"]) == 3


def test_a_child_that_fails_says_why_in_one_line(original: Path, child_python: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAND_IN_FAILS", "no memory\nleft for weights")
    with pytest.raises(VtError) as told:
        open_served(str(original), settings(engine="vllm"))
    assert "left for weights" in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("found", ["0.25.1", "0.32.0", "0.33.0+cu130", "1.0.0", "0.1.dev14+g12ab", "0.26.0rc1"])
def test_versions_that_may_serve(found: str) -> None:
    vllm_worker.check_version(found)


def test_a_version_that_is_too_old_is_refused_in_one_line(
    original: Path, child_python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for found in ("0.25.0", "0.9.2", "0.11"):
        with pytest.raises(RuntimeError, match=f"vLLM {found} is there, and 0.25.1 or later is needed"):
            vllm_worker.check_version(found)
    monkeypatch.setenv("STAND_IN_VERSION", "0.11.0")
    with pytest.raises(VtError, match=r"did not load it \(exit code 1\): .*vLLM 0\.11\.0 is there") as told:
        open_served(str(original), settings(engine="vllm"))
    assert "\n" not in str(told.value)


def test_a_vllm_that_tells_no_chosen_tokens_is_asked_for_the_written_ones_alone(
    original: Path, colours: Curated, stand_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its log-probabilities then have the placeholders in them, whose share it does not say."""
    monkeypatch.delattr(stand_in.SamplingParams, "logprob_token_ids")
    _, (first, *_) = asked(original, colours)
    assert first.logprob == pytest.approx(-2)
    _, params = stand_in.LLM.asked[-1]
    assert params[0].logprobs == 0
    assert not hasattr(params[0], "logprob_token_ids")


def test_a_child_ends_with_whoever_started_it(original: Path, child_python: Path) -> None:
    options = {"model": str(original), "revision": None, "trust_remote_code": False, "dtype": "float32"}
    options |= {"eos": [2], "placeholders": [5, 6]}
    code = f"""
import sys
from videothinker.diagnose.vllm_child import Child
child = Child("x", {str(child_python)!r}, {options!r})
print(child._process.pid, child._folder, flush=True)
sys.stdin.read()
"""
    started = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stdin=subprocess.PIPE, cwd=REPO)
    assert started.stdout is not None
    pid, folder = started.stdout.readline().decode().split()
    started.send_signal(signal.SIGKILL)
    started.wait()
    assert _ends(int(pid))
    assert not Path(folder).exists()


def _ends(pid: int) -> bool:
    for _ in range(200):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_vllm_is_not_asked_where_it_writes_otherwise_than_we_do(
    original: Path, colours: Curated, stand_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    opening = Opening(str(original), colours, settings(engine="vllm"), warn=told.append)
    with pytest.raises(VtError, match="does not write what our own engine does about a short clip"):
        OPENERS["checkpoint"](opening)
    monkeypatch.setattr(vllm_check, "ours", lambda *_, **__: None)  # as where memory is short
    answerer = OPENERS["checkpoint"](opening)(colours, opening.settings)
    assert answerer.describe()["engine"] == "vllm"
    (line,) = told
    assert "were not held against our own engine's" in line


def test_what_vllm_cannot_do_is_refused_before_anything_is_loaded(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {**json.loads((original / "config.json").read_text()), text_positions.FIELD: "transformers"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(VtError, match="--text-positions original"):
        check(str(tmp_path), settings(engine="vllm"))
    with pytest.raises(VtError, match="--attention sdpa"):
        check(str(original), settings(engine="vllm", attention="sdpa"))
    check(str(tmp_path), settings(engine="vllm", text_positions=TextPositions.ORIGINAL))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(VtError, match="--shard"):
        check(str(original), settings(engine="vllm"))


def test_without_vllm_it_is_said_what_to_install_before_anything_is_loaded(
    original: Path, colours: Curated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(vllm_child.PYTHON, raising=False)
    monkeypatch.setattr(vllm_child, "find_spec", lambda name: None)
    with pytest.raises(VtError, match=r"\.\[vllm\]"):
        open_served(str(original), settings(engine="vllm"))
    monkeypatch.setattr(vllm_check, "ours", lambda *_, **__: pytest.fail("a checkpoint was loaded first"))
    for ask in (partial(doctor.compare_vllm, warn=print), lambda ref: OPENERS["checkpoint"](_opening(ref, colours))):
        with pytest.raises(VtError, match=r"\.\[vllm\]"):
            ask(str(original))
    monkeypatch.setenv(vllm_child.PYTHON, "/nowhere/python")
    with pytest.raises(VtError, match="/nowhere/python: no such file"):
        open_served(str(original), settings(engine="vllm"))


def _opening(ref: str, curated: Curated) -> Opening:
    return Opening(ref, curated, settings(engine="vllm"))


def test_only_diagnosis_has_this_engine(original: Path, colours: Curated) -> None:
    with pytest.raises(VtError, match="is for vt diagnose"):
        open_checkpoint(str(original), curated=colours, settings=settings(engine="vllm"))


def test_without_a_gpu_vllm_gets_half_of_the_memory_that_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    told = SimpleNamespace(virtual_memory=lambda: SimpleNamespace(available=8, total=20))
    monkeypatch.setitem(sys.modules, "psutil", told)
    assert vllm_worker._cpu_share() == pytest.approx(0.2)


def test_the_worker_stands_alone() -> None:
    text = Path(vllm_worker.__file__).read_text()
    assert "import videothinker" not in text
    assert "from videothinker" not in text


@pytest.mark.skipif(REAL is None, reason="VT_VLLM_PYTHON names no environment with vLLM")
def test_the_real_vllm_writes_what_our_engine_writes(original: Path, colours: Curated) -> None:
    _, found = asked(original, colours)
    ours = open_checkpoint(str(original), curated=colours, settings=settings())
    expected = {reply.question_id: reply for reply in ours.answer(colours.questions("dev"))}
    assert {each.question_id: each.reply for each in found} == {name: each.reply for name, each in expected.items()}
    for each in found:
        assert each.logprob == pytest.approx(expected[each.question_id].logprob, abs=1e-3)
