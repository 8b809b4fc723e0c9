"""Chat templates from strangers: what one raises, and one without end, is one line that names the checkpoint."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import AutoProcessor

from videothinker.errors import VtError
from videothinker.models.chat import LONGEST, chat

BASE = Path(__file__).parents[2] / "data" / "study" / "base"
ENDLESS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"


@pytest.fixture
def put() -> Callable[..., str]:
    """Put a prompt to the shipped base, whose chat template is replaced by the given one."""
    processor = AutoProcessor.from_pretrained(BASE)

    def put(template: str, **options: object) -> str:
        processor.chat_template = template
        return chat(processor, "Why?", **options)

    return put


def test_a_template_gets_the_messages_and_the_reply_begins_behind_it(put: Callable[..., str]) -> None:
    template = "{% for m in messages %}{{ m.role }}:{% for part in m.content %}{{ part.text }}{% endfor %};{% endfor %}"
    assert put(template) == "user:Why?;"
    assert put(template, system="Look.", prefill="<think>") == "system:Look.;user:Why?;<think>"


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ raise_exception('no system role') }}", "cannot put a prompt: no system role"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ messages[5].role }}", "has no element 5"),
        ("{% for", "unexpected 'end of template'"),
        ("{% for i in range(1000000) %}{% endfor %}", "Range too big"),
        ("{% for i in range(1001) %}{{ 'x' * 1000 }}{% endfor %}", f"makes {LONGEST + 1000:,} characters of one prompt"),
    ],
)
def test_what_a_template_raises_is_one_line_that_names_the_checkpoint(
    put: Callable[..., str], template: str, said: str
) -> None:
    with pytest.raises(VtError) as refused:
        put(template)
    assert said in str(refused.value)
    assert "study/base: its chat template" in str(refused.value)
    assert "copy chat_template.jinja from" in str(refused.value)


def test_a_system_text_that_a_template_refuses_is_named_as_a_reason(put: Callable[..., str]) -> None:
    refuses = "{% if messages[0].role == 'system' %}{{ raise_exception('no such role') }}{% endif %}ok"
    assert put(refuses) == "ok"
    with pytest.raises(VtError, match=r"no such role \(it was given a system text; a prompt without one may do\)"):
        put(refuses, system="Look.")


def test_an_endless_template_is_ended_in_every_thread(put: Callable[..., str]) -> None:
    said: list[str] = []

    def ask() -> None:
        try:
            put(ENDLESS, seconds=0.2)
        except VtError as error:
            said.append(str(error))

    ask()
    thread = threading.Thread(target=ask)
    thread.start()
    thread.join(timeout=60)
    assert len(said) == 2
    assert all("is not done with one prompt after 0.2 s" in words for words in said)
    assert put("fine", seconds=60.0) == "fine"  # and nothing is left of it behind
