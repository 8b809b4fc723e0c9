"""What a model wrote, token by token, before it is read: engines give it, and a stop may cut it."""

from typing import NamedTuple


class Reply(NamedTuple):
    """What a model wrote to one row."""

    tokens: list[int]
    """All that was written, the token that ended the reply included; at least one."""
    logprobs: list[float]
    """Parallel to `tokens`: the natural logarithm of each token's probability in the softmax of the model's logits, in float32
    and after placeholders of clips and images are excluded. It is that of temperature 1, whatever the settings say: how sure
    the model was, and not how likely the draw."""
    cut: bool
    """True when the token limit was reached before an end token."""
    stopped: bool = False
    """True when the reply ends behind its first answer because that was sure enough (`stopping`); it has no end token then."""

    @property
    def content(self) -> list[int]:
        """The tokens without the one that ended the reply."""
        return self.tokens if self.cut or self.stopped else self.tokens[:-1]
