"""Checkpoints and adapters that do not fit are refused in one line that names the fault; whole ones load."""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from damaged import (
    ADAPTER_WEIGHTS,
    WEIGHTS,
    Damage,
    copy,
    cut,
    dropped,
    pickled,
    pointer,
    renamed,
    rewritten,
    sharded,
    told,
    with_number,
    without_effect,
)
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file

from videothinker.errors import VtError
from videothinker.models.checkpoint import Checkpoint, check_fit, find_checkpoint, load_full
from videothinker.models.load import check, load
from videothinker.models.misfit import is_finite
from videothinker.models.ref import local_folder

UP = "model.layers.1.mlp.up_proj.weight"
"""Of shape (256, 128), as the file of a fresh tiny model names it."""


@pytest.fixture(scope="module")
def start(assets: Path) -> Path:
    return assets / "start"


@pytest.fixture(scope="module")
def adapter(start: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA of rank 4 on three projections of both layers: 12 tensors."""
    torch.manual_seed(2)
    targets = r".*language_model.*\.(q_proj|v_proj|up_proj)"
    model = get_peft_model(load_full(Checkpoint(start, None), torch.float32, "sdpa"), LoraConfig(r=4, target_modules=targets))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.3)
    model.save_pretrained(tmp_path_factory.mktemp("lora"))
    return Path(tmp_path_factory.getbasetemp()) / "lora0"


@contextmanager
def damaged(folder: Path, *damages: Damage) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as scratch:
        yield copy(folder, Path(scratch) / "model", *damages)


def refusals(folder: Path) -> set[str]:
    """What asking and training say before they read any weights: one line each, and mostly the same."""
    said = []
    for attempt in (lambda: check(str(folder)), lambda: check_fit(find_checkpoint(str(folder)))):
        with pytest.raises(VtError) as caught:
            attempt()
        said.append(str(caught.value))
    assert not [line for line in said if "\n" in line or not line.startswith(f"{folder}: ")], said
    return set(said)


def refusal(folder: Path, *damages: Damage) -> str:
    """The one line that both say of a copy of the folder with these damages."""
    with damaged(folder, *damages) as model:
        (line,) = refusals(model)
        return line.removeprefix(f"{model}: ")


def as_the_model_names_it(name: str) -> str:
    return f"model.{name}" if name.startswith("visual.") else name.replace("model.", "model.language_model.", 1)


slowly = settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
"""Each example writes a checkpoint and looks at it twice, so there are few; to shrink one would take minutes."""


@slowly
@given(data=st.data())
def test_weights_that_are_missing_are_counted_and_named(start: Path, data: st.DataObject) -> None:
    names = list(load_file(start / WEIGHTS))
    lost = data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=5, unique=True))
    line = refusal(start, dropped(lambda name: name in lost))
    expected = {as_the_model_names_it(name) for name in lost}
    if "model.embed_tokens.weight" in lost:  # which the output layer is tied to
        expected.add("lm_head.weight")
    first = ", ".join(sorted(expected)[:2]) + (f" and {len(expected) - 2} more" if len(expected) > 2 else "")
    assert line.startswith(
        f"the weights do not fit its config.json: {len(expected)} {'is' if len(expected) == 1 else 'are'} missing"
    )
    assert f"missing ({first})" in line
    assert "unknown" not in line


@slowly
@given(data=st.data())
def test_weights_without_a_place_and_of_another_shape_are_named_as_in_the_file(start: Path, data: st.DataObject) -> None:
    tensors = load_file(start / WEIGHTS)
    name = data.draw(st.sampled_from(sorted(tensors)))
    shape = tuple(tensors[name].shape)
    other = data.draw(st.sampled_from([(shape[0] + 1, *shape[1:]), (*shape, 2), tuple(size + 2 for size in shape)]))
    line = refusal(start, rewritten(lambda whole: {**whole, name: torch.zeros(other)}))
    assert f"1 is of another shape ({as_the_model_names_it(name)} is {other}, expected {shape})" in line
    extra = data.draw(
        st.sampled_from([f"{name}.scale", name.replace(".0.", ".17.").replace(".1.", ".17.") + "s", "v_head.bias"])
    )
    line = refusal(start, rewritten(lambda whole: {**whole, extra: torch.zeros(3)}))
    assert f"1 is unknown to the model ({extra})" in line
    assert "missing" not in line


@pytest.mark.parametrize(
    ("part", "advice"),
    [
        ("module.", "save model.module with save_pretrained"),
        ("_fsdp_wrapped_module.", "gather the whole state dict"),
        ("_orig_mod.", "save model._orig_mod"),
        ("base_model.model.", "save model.merge_and_unload()"),
    ],
)
def test_names_that_a_wrapper_gave_come_with_what_to_do(start: Path, part: str, advice: str) -> None:
    line = refusal(start, renamed(lambda name: part + name))
    assert "56 are unknown to the model" in line
    assert f"'{part}' is what" in line
    assert advice in line
    assert "or rename the tensors without it" in line


@pytest.mark.parametrize(
    "damage",
    [
        dropped(lambda name: ".mlp." in name),
        rewritten(lambda tensors: {**tensors, "model.layers.7.mlp.up_proj.weight": torch.zeros(3)}),
        rewritten(lambda tensors: {**tensors, UP: torch.zeros(3, 4)}),
    ],
)
def test_loading_says_what_the_headers_say(start: Path, damage: Damage) -> None:
    """Of a checkpoint on the hub the headers are not looked at before."""
    expected = refusal(start, damage)
    with damaged(start, damage) as model:
        with pytest.raises(VtError) as caught:
            load_full(Checkpoint(model, None), torch.float32, "sdpa")
        assert str(caught.value) == f"{model}: {expected}"


def test_names_of_another_version_load_where_transformers_knows_them_and_else_say_how_to_rename(start: Path) -> None:
    """Files before transformers 4.52 have visual.* and model.layers.*, later ones model.visual.* and model.language_model.*."""
    whole = load_full(Checkpoint(start, None), torch.float32, "sdpa").state_dict()
    with damaged(start, renamed(as_the_model_names_it)) as model:
        check(str(model))
        check_fit(find_checkpoint(str(model)))
        again = load_full(Checkpoint(model, None), torch.float32, "sdpa").state_dict()
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    line = refusal(start, renamed(lambda name: name if name.startswith("visual.") else f"language_model.{name}"))
    assert "rename the tensors: 'language_model.model.' to 'model.language_model.' at the beginning" in line


def test_a_whole_checkpoint_passes_in_one_file_or_several_and_with_what_is_tied_in_it(start: Path) -> None:
    def with_output_layer(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {**tensors, "lm_head.weight": tensors["model.embed_tokens.weight"].clone()}

    for damage in (lambda _: None, sharded, rewritten(with_output_layer)):
        with damaged(start, damage) as model:
            check(str(model))
            check_fit(find_checkpoint(str(model)))
    load(str(start))


@slowly
@given(data=st.data())
def test_cut_files_placeholders_and_missing_shards_are_named(start: Path, data: st.DataObject) -> None:
    size = (start / WEIGHTS).stat().st_size
    line = refusal(start, cut(data.draw(st.integers(0, size - 1))))
    assert line.startswith("model.safetensors (")
    assert "is cut or damaged" in line
    name = data.draw(
        st.sampled_from([WEIGHTS, "tokenizer.json", "config.json", "generation_config.json", "chat_template.jinja"])
    )
    assert refusal(start, pointer(name)).startswith(f"{name} is a placeholder of git-lfs")
    shard = f"model-0000{data.draw(st.integers(1, 3))}-of-00003.safetensors"
    line = refusal(start, sharded, lambda folder: (folder / shard).unlink())
    assert line.startswith(f"model.safetensors.index.json names 3 files, of which {shard} is not there")


@slowly
@given(data=st.data())
def test_a_number_that_is_none_is_found_wherever_it_is(start: Path, adapter: Path, data: st.DataObject) -> None:
    """In the base when it is loaded, in an adapter before."""
    number = data.draw(st.sampled_from([float("nan"), float("inf"), -float("inf")]))
    tensors = load_file(start / WEIGHTS)
    name = data.draw(st.sampled_from(sorted(tensors)))
    at = data.draw(st.integers(0, tensors[name].numel() - 1))
    expected = rf"model: {as_the_model_names_it(name)} holds NaN or infinite numbers"
    with damaged(start, with_number(name, number, at)) as model, pytest.raises(VtError, match=expected):
        load_full(Checkpoint(model, None), torch.float32, "sdpa")
    name = data.draw(st.sampled_from(sorted(load_file(adapter / ADAPTER_WEIGHTS))))
    assert refusal(adapter, with_number(name, number, 5)).startswith(f"{name} holds NaN or infinite numbers")


def test_asking_refuses_a_number_that_is_none(start: Path) -> None:
    expected = r"model\.language_model\.layers\.1\.mlp\.up_proj\.weight holds NaN"
    with damaged(start, with_number(UP, float("nan"), 77)) as model, pytest.raises(VtError, match=expected):
        load(str(model))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float8_e5m2])
def test_the_largest_numbers_are_finite_although_their_sum_is_not(dtype: torch.dtype) -> None:
    largest = torch.full((4096,), torch.finfo(dtype).max).to(dtype)
    assert is_finite(largest)
    for number in (float("nan"), float("inf")):
        assert not is_finite(torch.cat([largest.float(), torch.tensor([number, -number])]).to(dtype))
    assert is_finite(torch.arange(3))
    assert is_finite(torch.zeros(0))


ADAPTER_FAULTS: dict[str, tuple[Damage, str]] = {
    "names of another version": (
        renamed(lambda name: name.replace("model.language_model.", "model.")),
        "12 are missing .*12 are unknown .*rename the tensors: 'base_model.model.model.' to"
        " 'base_model.model.model.language_model.' at the beginning",
    ),
    "names of the base": (
        renamed(lambda name: name.removeprefix("base_model.model.")),
        "put 'base_model.model.' before the names",
    ),
    "wrapped": (renamed(lambda name: f"module.{name}"), "'module.' is what .*rename the tensors without it"),
    "of another model": (
        rewritten(lambda _: {"base_model.model.encoder.lora_A.weight": torch.ones(4, 4)}),
        r"12 are missing .*1 is unknown to the model \(base_model\.model\.encoder\.lora_A\.weight\)",
    ),
    "a part": (
        dropped(lambda name: "layers.0.mlp" in name),
        r"2 are missing \(base_model\.model\.model\.language_model\.layers\.0\.mlp\.up_proj\.lora_A\.weight, ",
    ),
    "one layer more": (
        rewritten(
            lambda tensors: {**tensors, "base_model.model.model.language_model.layers.9.lora_B.weight": torch.ones(4, 4)}
        ),
        r"1 is unknown to the model \(base_model\.model\.model\.language_model\.layers\.9\.lora_B\.weight\)",
    ),
    "another rank": (
        rewritten(lambda tensors: {name: t[:2] if "lora_A" in name else t[:, :2] for name, t in tensors.items()}),
        r"self_attn\.q_proj\.lora_A\.weight is \(2, 128\), expected \(4, 128\)",
    ),
    "another rank told": (told("adapter_config.json", r=8), r"lora_A\.weight is \(4, 128\), expected \(8, 128\)"),
    "no effect": (without_effect, "changes nothing: lora_A or lora_B is zero in each of its 6 modules"),
    "no weights": (lambda folder: (folder / ADAPTER_WEIGHTS).unlink(), r"has no adapter_model\.safetensors"),
    "pickled": (pickled, r"has adapter_model\.bin and no adapter_model\.safetensors; a pickle can run code"),
    "cut": (cut(-1), r"adapter_model\.safetensors \(28,\d\d\d bytes\) is cut or damaged"),
    "placeholder": (pointer(ADAPTER_WEIGHTS), r"adapter_model\.safetensors is a placeholder of git-lfs"),
    "no JSON": (lambda folder: (folder / "adapter_config.json").write_text("{"), r"its adapter_config\.json is not JSON"),
    "no object": (lambda folder: (folder / "adapter_config.json").write_text("[]"), r"adapter_config\.json holds a list"),
    "no base": (told("adapter_config.json", base_model_name_or_path=None), "does not say which checkpoint it adapts"),
    "base gone": (told("adapter_config.json", base_model_name_or_path="./gone"), r"its base is gone: \./gone: no such folder"),
    "no kind": (told("adapter_config.json", peft_type="LORO"), r"the peft_type in its adapter_config\.json is LORO"),
    "bad rank": (told("adapter_config.json", r="four"), r"does not fit its adapter_config\.json or its base"),
    "no such module": (told("adapter_config.json", target_modules=["gate"]), r"Target modules \{'gate'\} not found"),
    "saved whole": (
        told("adapter_config.json", modules_to_save=["lm_head"]),
        r"1 is missing \(base_model\.model\.lm_head\.weight\)",
    ),
    "an import": (told("adapter_config.json", megatron_config={"a": 1}, megatron_core="this"), "PEFT imports modules by name"),
}


@pytest.mark.parametrize("fault", ADAPTER_FAULTS)
def test_an_adapter_that_does_not_fit_is_refused(adapter: Path, fault: str) -> None:
    damage, expected = ADAPTER_FAULTS[fault]
    with damaged(adapter, damage) as model:
        (line,) = refusals(model)
    assert re.search(expected, line), line


def test_a_whole_adapter_loads_and_changes_what_it_should(start: Path, adapter: Path) -> None:
    check(str(adapter))
    before, after = (load(str(folder)).model.state_dict() for folder in (start, adapter))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {
        f"model.language_model.layers.{layer}.{module}.weight"
        for layer in (0, 1)
        for module in ("self_attn.q_proj", "self_attn.v_proj", "mlp.up_proj")
    }


def test_an_adapter_of_an_adapter_is_refused(adapter: Path) -> None:
    line = refusal(adapter, told("adapter_config.json", base_model_name_or_path=str(adapter)))
    assert line.startswith(f"its base {adapter} is an adapter itself")


CODE = {"AutoConfig": "code.Config", "AutoModelForImageTextToText": "code.Model", "AutoProcessor": "code.Processor"}


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json", "processor_config.json"])
@pytest.mark.parametrize("kind", ["qwen2_5_vl", "unheard_of"])
def test_python_beside_a_checkpoint_never_runs_and_nobody_is_asked_whether_it_may(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, kind: str
) -> None:
    """Training refuses it; asking takes transformers' own architecture where there is one of that name."""
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked on the terminal"))
    ran = tmp_path / "ran"

    def with_code(folder: Path) -> None:
        if not (folder / file).is_file():
            (folder / file).write_text("{}")
        told(file, auto_map=CODE)(folder)
        told(model_type=kind)(folder)
        (folder / "code.py").write_text(f"open({str(ran)!r}, 'w')")

    model = copy(start, tmp_path / "model", with_code)
    with pytest.raises(VtError, match=rf"{file} names Python code to be run with it \(auto_map\), and training runs none"):
        find_checkpoint(str(model))
    if kind == "unheard_of":
        with pytest.raises(VtError, match=rf"model: .*({file} names Python code.*--trust-remote-code|no checkpoint that)"):
            check(str(model))
    else:
        check(str(model))
    assert not ran.exists()


def test_a_kernel_of_the_hub_is_code_too(start: Path) -> None:
    assert "asks for code from the hub, the kernel some/kernel" in refusal(start, told(_attn_implementation="some/kernel"))


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda folder: (folder / "chat_template.jinja").unlink(), "has no chat template; copy chat_template.jinja from"),
        (lambda folder: (folder / "config.json").unlink(), "has neither config.json nor adapter_config.json, so it is no"),
        (
            lambda folder: (
                (folder / "checkpoint-20").mkdir(),
                (folder / "config.json").rename(folder / "checkpoint-20/config.json"),
            ),
            "so it is no checkpoint; the folder checkpoint-20 in it is one",
        ),
        (lambda folder: (folder / "config.json").write_text("[]"), "its config.json holds a list, expected a JSON object"),
        (lambda folder: (folder / "config.json").write_bytes(b"\xff"), "its config.json is not JSON"),
        (lambda folder: (folder / "tokenizer.json").write_text('{"a": '), "its tokenizer.json is not JSON"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "its processor cannot be loaded"),
        (pickled, "has pytorch_model.bin and no model.safetensors; a pickle can run code and is not loaded"),
        (told(transformers_weights="other.safetensors"), "has no other.safetensors; save"),
    ],
)
def test_a_folder_that_is_no_whole_checkpoint_is_one_line(start: Path, damage: Damage, expected: str) -> None:
    assert expected in refusal(start, damage)


def test_what_looks_like_a_path_is_not_looked_up_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("the network is asked"))
    (tmp_path / "runs" / "bias").mkdir(parents=True)
    (tmp_path / "runs" / "notes").touch()
    for ref, said in {
        "./bias": "no such folder",
        "../bias": "no such folder",
        "~/bias": "no such folder",
        f"{tmp_path}/bias": "no such folder",
        "runs/bias/checkpoint-2": "no such folder",
        "model": "neither a folder nor a hub id",
        "runz/bias/": "no such folder",
        "runz/model.safetensors": "no such folder",
        "runz/adapter_config.json": "no such folder",
        "runz/bias.toml": "no such folder",
        "runs/bais": r"no such folder in runs, which is here, so the hub is not asked; is runs/bias meant\?",
        "runs/entirely-else": "no such folder in runs, which is here, so the hub is not asked$",
        "runs/notes": "is a file, expected the folder",
    }.items():
        for attempt in (check, find_checkpoint, load):
            with pytest.raises(VtError, match=rf"^{re.escape(ref)}: .*{said}"):
                attempt(ref)
    assert local_folder("Qwen/Qwen2.5-VL-3B-Instruct") is None
    assert local_folder("runs/bias") == Path("runs/bias")
