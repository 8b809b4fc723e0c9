"""How a prompt about one clip is put to a model: as a conversation in the words of its processor's chat template."""

from typing import Any


def chat(processor: Any, prompt: str) -> str:
    """The text of a conversation that shows one clip, asks `prompt` and waits for the reply."""
    content = [{"type": "video"}, {"type": "text", "text": prompt}]
    text: str = processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    return text
