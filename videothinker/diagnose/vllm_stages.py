"""Replies of vLLM that end behind their first answers: written up to a closing brace, looked at, and gone on with if need be.

vLLM says nothing about a reply before it has ended, so it is asked to end each at the first "}". What is written by then holds
the first answer, or a brace that closes something inside its box; then the same is asked for once more. Whoever was sure
enough has a whole reply. The others are asked for again, with what they wrote as the end of their prompts: those are in
vLLM's prefix cache, up to the last block of 16 tokens, and so is what it saw of the clip.
"""

from collections.abc import Sequence

from videothinker.answers.twice import is_past_first
from videothinker.diagnose.stopping import LOOKS_AT, N_LOOKS, Gate
from videothinker.diagnose.vllm_child import Writer
from videothinker.diagnose.vllm_worker import Job, Written
from videothinker.errors import VtError


def write(writer: Writer, jobs: Sequence[Job], gate: Gate) -> list[Written]:
    """One reply per job, in order. Those that the gate ends may have a little more behind the place, for `Gate.cut`.

    Raises:
        VtError: vLLM ended, or made another prompt of one that was gone on with.
    """
    if gate.at is None:
        return writer.reply(jobs)
    replies = writer.reply([{**job, "stop": LOOKS_AT} for job in jobs])
    for n_looks in range(1, N_LOOKS + 1):
        going = [i for i, reply in enumerate(replies) if _goes_on(reply, gate)]
        if not going:
            break
        looks_on = n_looks < N_LOOKS
        more = writer.reply([_continued(jobs[i], replies[i], gate, looks_on=looks_on) for i in going])
        for i, rest in zip(going, more, strict=True):
            replies[i] = _joined(replies[i], rest)
    return replies


def _goes_on(reply: Written, gate: Gate) -> bool:
    """Whether a reply is neither at its end nor sure enough of its first answer."""
    return reply["paused"] and not reply["cut"] and gate.sure(reply["tokens"], reply["logprobs"]) is None


def _continued(job: Job, reply: Written, gate: Gate, *, looks_on: bool) -> Job:
    """The job that asks for the rest of a reply, up to its next brace if its first answer is still to come.

    A draw begins with a seed, so the rest has one of its own: with the same it would repeat the draws of the beginning.
    """
    from videothinker.diagnose.engines.base import reply_seed

    written = reply["tokens"]
    looks_on = looks_on and not is_past_first(gate.decode(written))
    return {
        **job,
        "written": written,
        "max_new_tokens": job["max_new_tokens"] - len(written),
        "seed": reply_seed(job["seed"], str(len(written))),
        **({"stop": LOOKS_AT} if looks_on else {}),
    }


def _joined(begun: Written, rest: Written) -> Written:
    n_written = len(begun["tokens"])
    if rest["n_prompt"] != begun["n_prompt"] + n_written:
        raise VtError(
            f"vLLM made {rest['n_prompt']:,} tokens of a prompt of {begun['n_prompt']:,} and the {n_written} that it had "
            "written, so it would not go on with its reply; leave out --stop-at, or choose another --engine"
        )
    return {
        "tokens": [*begun["tokens"], *rest["tokens"]],
        "logprobs": [*begun["logprobs"], *rest["logprobs"]],
        "cut": rest["cut"],
        "paused": rest["paused"],
        "n_prompt": begun["n_prompt"],
    }
