"""How a prompt about one clip is put to a model: as a conversation in the words of its processor's chat template.

The template comes with the checkpoint, so it may come from strangers. transformers renders it in Jinja's sandbox, which keeps
it from files and from code, but not from going on for ever. Its time and its length are bounded here.
"""

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jinja2 import TemplateError

from videothinker.errors import VtError
from videothinker.printable import printable

SECONDS = 20.0
"""For one conversation; a template takes a millisecond."""
LONGEST = 1_000_000
"""Characters that may come of it, ten times what a prompt may have."""


class _TooSlowError(Exception):
    """Raised inside a template whose time is up."""


_RAISED = (TemplateError, ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError)
"""What rendering a template is known to raise: Jinja's errors, its own `raise_exception`, and those of its expressions."""


def chat(processor: Any, prompt: str, *, system: str | None = None, prefill: str = "", seconds: float = SECONDS) -> str:
    """The text of a conversation that shows one clip, asks `prompt` and waits for the reply.

    system: the system text; None leaves it to the template. prefill: how the reply begins, which the model is to go on with.
    seconds: how long the template may take.

    Raises:
        VtError: the template fails, is not done in time, or makes too long a text.
    """
    content = [{"type": "video"}, {"type": "text", "text": prompt}]
    messages = [{"role": "user", "content": content}]
    if system is not None:
        messages = [{"role": "system", "content": [{"type": "text", "text": system}]}, *messages]
    try:
        with _time_limit(seconds):
            text: str = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    except _TooSlowError:
        raise VtError(f"{_whose(processor)} is not done with one prompt after {seconds:g} s; {_MEND}") from None
    except _RAISED as error:
        said = printable(" ".join(str(error).split()))[:300] or type(error).__name__
        with_system = " (it was given a system text; a prompt without one may do)" if system is not None else ""
        raise VtError(f"{_whose(processor)} cannot put a prompt: {said}{with_system}; {_MEND}") from error
    if len(text) > LONGEST:
        raise VtError(f"{_whose(processor)} makes {len(text):,} characters of one prompt; {_MEND}")
    return text + prefill


_MEND = "copy chat_template.jinja from the checkpoint that it was trained from"


def _whose(processor: Any) -> str:
    return f"{getattr(processor.tokenizer, 'name_or_path', None) or 'the checkpoint'}: its chat template"


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise `_TooSlowError` in this thread, between two instructions of Python, if what stands within takes longer.

    A signal would do in the main thread alone, and prompts are put by others as well.
    """
    ours, lock, done = threading.get_ident(), threading.Lock(), False

    def end() -> None:
        with lock:  # never behind the block: another block's work would be what ends
            if not done:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ours), ctypes.py_object(_TooSlowError))

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        with lock:
            done = True
        timer.cancel()
