"""Questions for vLLM in chunks, each of which is one call: while vLLM writes one, a thread reads the clips of the next.

Which questions share a chunk depends on their order, on their number and on the sizes of their frames, never on how fast clips
come: in bfloat16 the rounding of a reply's logits depends on what it is batched with.
"""

import threading
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import takewhile
from typing import NamedTuple

from videothinker.diagnose.answerer import RawReply
from videothinker.diagnose.prompt_length import Kind, Still
from videothinker.diagnose.vllm_worker import PIXELS, Job
from videothinker.records import Question

N_AT_ONCE = 256
"""Most questions in a chunk where no batch size is set; vLLM batches them itself."""
N_FIRST = 32
"""Questions of the first chunk, for whose clips vLLM waits. With fewer it begins earlier and is asked more often, and each call
leaves it half empty while its last replies end."""
_GROWTH = 4
"""How many times as many questions a chunk has as the one before, during which its clips are read. If reading is not so many
times as fast as writing, vLLM waits before the second or third chunk, and no more."""
_FRAME_BYTES = 2**30
"""Bytes of frames after which a chunk ends, however few its questions are. Frames of two chunks are held at a time."""


class Asked(NamedTuple):
    """A question and how vLLM is asked it."""

    question: Question
    kind: Kind | Still
    job: Job
    fed: tuple[int, int, int, int | None] | None
    """What it shows, by `PromptLengths.fed`; None if an earlier question shows the same, so that it counts once."""


Chunk = list[Asked | RawReply]
"""What vLLM is asked in one call, and the replies that say of what cannot be read why there are none."""


def next_size(before: int, n_left: int, most: int) -> int:
    """Questions of the next chunk: `N_FIRST`, then four times those of the one before, up to `most`. What is left is one chunk,
    or two of the same size, if it is less than two such chunks have.

    before: questions of the chunk before, 0 without one. n_left: questions that are in none yet.
    """
    size = min(_GROWTH * before or N_FIRST, most)
    if n_left >= 2 * size:
        return size
    return n_left if n_left <= most else -(-n_left // 2)


def chunks(found: Iterable[Chunk], n_questions: int, most: int) -> Iterator[Chunk]:
    """The same in chunks of `next_size`, in order.

    found: questions that show the same, together, or replies; of `n_questions` in all.
    """
    gathered: Chunk = []
    n_bytes, n_left, size = 0, n_questions, next_size(0, n_questions, most)
    for some in found:
        gathered += some
        n_bytes += _n_bytes(some[0])
        while gathered and (len(gathered) >= size or n_bytes >= _FRAME_BYTES):
            yield gathered[:size]
            n_left -= len(gathered[:size])
            gathered, n_bytes = gathered[size:], 0
            size = next_size(size, n_left, most)
    if gathered:
        yield gathered


def one_ahead(found: Generator[Chunk], n_questions: int, most: int) -> Generator[Chunk]:
    """`chunks`, each of them gathered in a thread while the one before is in use.

    `found` runs in that thread, and what it raises is raised here. Who closes this waits until it has come to its next clip and
    is closed, so that no thread is left.
    """
    closed = threading.Event()
    coming = chunks(takewhile(lambda _: not closed.is_set(), found), n_questions, most)
    with closing(found), ThreadPoolExecutor(1, thread_name_prefix="vllm-chunks") as thread:
        try:
            ahead = thread.submit(next, coming, None)
            while (chunk := ahead.result()) is not None:
                ahead = thread.submit(next, coming, None)
                yield chunk
        finally:
            closed.set()


def _n_bytes(one: Asked | RawReply) -> int:
    if isinstance(one, RawReply):
        return 0
    return sum(one.job[shown].nbytes for shown in PIXELS if shown in one.job)
