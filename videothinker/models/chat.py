"""How a prompt about one clip is put to a model: as a conversation in the words of its processor's chat template."""

from typing import Any, Literal


def chat(
    processor: Any,
    prompt: str,
    *,
    system: str | None = None,
    prefill: str = "",
    shows: Literal["video", "image"] | None = "video",
) -> str:
    """The text of a conversation that shows one clip, or one image or nothing, asks `prompt` and waits for the reply.

    system: the system text; None leaves it to the template. prefill: how the reply begins, which the model is to go on with.
    """
    shown = [] if shows is None else [{"type": shows}]
    content = [*shown, {"type": "text", "text": prompt}]
    messages = [{"role": "user", "content": content}]
    if system is not None:
        messages = [{"role": "system", "content": [{"type": "text", "text": system}]}, *messages]
    text: str = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return text + prefill
