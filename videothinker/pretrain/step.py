"""One step of pretraining: forward, backward, sum over processes, update.

A model of 6 M parameters computes for a few milliseconds a step, while launching its kernels from Python takes tens. So on
a GPU all inputs are copied to fixed places, and what follows is two recorded CUDA graphs, with the sum of gradients in between.
The same functions run unrecorded elsewhere.
"""

from contextlib import nullcontext
from typing import Any, NamedTuple

import torch

from videothinker.pretrain import lessons, packed
from videothinker.pretrain.muon import Muon
from videothinker.pretrain.perception import Heads, Targets
from videothinker.pretrain.ranks import Ranks
from videothinker.pretrain.scenes import N_CLIP_FRAMES
from videothinker.pretrain.settings import SftConfig

_WARM_UPS = 3
"""Runs before recording, in which kernels are compiled and chosen."""
_BETAS = (0.9, 0.98)
_AHEAD = 4
"""Steps by which the host may be ahead of its GPU: a full queue would make other threads' calls wait, too."""
_N_STATS = 7


class Stats(NamedTuple):
    """Of one step, or summed over some."""

    loss: float
    """Nats a reply token."""
    perception: float
    """The heads' loss an object in sight."""
    named: float
    """Share of cells with an object that are named right."""
    loss_questions: float
    """Nats a token of thoughts and answers; 0 where there are none. The next one, of tracks."""
    loss_tracks: float
    grad_norm: float


class Inputs(NamedTuple):
    """Of one step."""

    frames: torch.Tensor
    """(C, T, 3, H, W) uint8: clips of a round; so are the targets."""
    targets: Targets
    clip: torch.Tensor
    """(B,): which of them this step's sequences are about."""
    rows: packed.Rows
    counts: torch.Tensor
    """(2,): reply tokens, and cells with an object, in this step's sequences of all processes."""


class Step:
    """The model, its optimisers and the places of a step's inputs. Everything is in place; weights keep their addresses."""

    def __init__(
        self, model: Any, processor: Any, layout: packed.Layout, config: SftConfig, ranks: Ranks, *, flex: bool
    ) -> None:
        self.model, self.processor, self.layout, self.config, self.ranks, self._flex = (
            model, processor, layout, config, ranks, flex
        )  # fmt: skip
        device, n_rows, length = ranks.device, config.optimizer.rows // ranks.size, config.lessons.length
        on_gpu = device != "cpu"
        self._graphs: list[Any] = []
        self.heads = Heads(model.config.text_config.hidden_size).to(device) if config.lessons.perception else None
        self.rate = torch.zeros((), device=device)
        matrices, others, plain = _parts(model, self.heads, config.optimizer.name == "muon")
        decay = config.optimizer.weight_decay
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(
                [{"params": others, "weight_decay": decay}, {"params": plain, "weight_decay": 0.0}],
                lr=self.rate,
                betas=_BETAS,
                fused=on_gpu,
                foreach=False if not on_gpu else None,
                capturable=on_gpu,
            )
        ]
        if matrices:
            self.optimizers.append(Muon(matrices, lr=self.rate, weight_decay=decay))
        parameters = [*matrices, *others, *plain]
        self._flat = torch.zeros(sum(p.numel() for p in parameters) + _N_STATS, device=device)
        sizes = [p.numel() for p in parameters]
        for parameter, gradient in zip(parameters, torch.split(self._flat[:-_N_STATS], sizes), strict=True):
            parameter.grad = gradient.view_as(parameter)
        for optimizer in self.optimizers:  # at rate 0 this changes no weight, and makes what a graph must find in place
            optimizer.step()
        for state in self.optimizers[0].state.values():
            state["step"].zero_()
        self.sums = torch.zeros(_N_STATS + 1, device=device)
        event: Any = torch.cuda.Event
        self._taken = [event(blocking=True) for _ in range(_AHEAD)] if on_gpu else []
        self._n_taken = 0

        t, h, w = layout.grid
        n_seen = t * h * w // 4

        def zeros(*size: int, dtype: torch.dtype = torch.long) -> torch.Tensor:
            return torch.zeros(*size, dtype=dtype, device=device)

        n_targets = packed.n_targets(n_rows, length)
        self._frames = zeros(n_rows, N_CLIP_FRAMES, 3, layout.height, layout.width, dtype=torch.uint8)
        self._rows = packed.Rows(
            zeros(n_rows, length),
            zeros(n_rows, length, dtype=torch.int32),
            zeros(3, n_rows, length),
            zeros(n_targets),
            zeros(n_targets),
        )
        self._targets = Targets(zeros(n_rows, n_seen), zeros(n_rows, n_seen, 4, dtype=torch.float32))
        self._counts = torch.ones(2, device=device)
        self._vision_inputs = packed.vision_inputs(model, layout, n_rows)

    def record(self) -> None:
        """Compile, and record the graphs. No weight changes."""
        main, side = torch.cuda.current_stream(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(main)
        with torch.cuda.stream(side):
            for _ in range(_WARM_UPS):
                self._backward()
        main.wait_stream(side)
        for part in (self._backward, self._update):
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=side, capture_error_mode="thread_local"):  # other threads may go on
                part()
            self._graphs.append(graph)
        self.sums.zero_()

    def take(self, inputs: Inputs, rate: float) -> None:
        """One step; on a GPU it is queued, and waited for `_AHEAD` steps later."""
        taken = self._taken[self._n_taken % _AHEAD] if self._taken else None
        if taken:
            taken.synchronize()
        torch.index_select(inputs.frames, 0, inputs.clip, out=self._frames)
        for into, values in zip(self._targets, inputs.targets, strict=True):
            torch.index_select(values, 0, inputs.clip, out=into)
        for into, values in zip(self._rows, inputs.rows, strict=True):
            into.copy_(values)
        self._counts.copy_(inputs.counts)
        self.rate.fill_(rate)
        backward, update = [graph.replay for graph in self._graphs] or (self._backward, self._update)
        backward()
        self.ranks.add(self._flat)
        update()
        if taken:
            taken.record()
        self._n_taken += 1

    def stats(self, n_steps: int) -> Stats:
        """Means over `n_steps` steps since this was last asked."""
        found = (self.sums / n_steps).tolist()
        self.sums.zero_()
        loss, perception, named, questions, n_questions, tracks, n_tracks, norm = found
        of_questions = questions / n_questions if n_questions else 0.0
        return Stats(loss, perception, named, of_questions, tracks / n_tracks if n_tracks else 0.0, norm)

    def gradients(self) -> list[torch.Tensor]:
        """Of the last step, clipped; in the order of `Step.optimizers`' parameters."""
        return [p.grad for o in self.optimizers for group in o.param_groups for p in group["params"]]

    def state_dict(self) -> dict[str, Any]:
        """What resuming needs."""
        return {
            "model": self.model.state_dict(),
            "heads": self.heads.state_dict() if self.heads else None,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Before `record`: optimisers take other places for their state."""
        self.model.load_state_dict(state["model"])
        if self.heads:
            self.heads.load_state_dict(state["heads"])
        for optimizer, kept in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)
            for group in optimizer.param_groups:
                group["lr"] = self.rate

    def _backward(self) -> None:
        """This process's part of the gradient, and of the statistics behind it."""
        self._flat.zero_()
        n_tokens, n_objects = self._counts
        with torch.autocast("cuda", torch.bfloat16) if self._flat.is_cuda else nullcontext():
            patches = packed.patches(self._frames, self.processor, self.config.lessons.noise)
            seen = packed.see(self.model, patches, self.layout, self._vision_inputs)
            losses = packed.loss(self.model, seen, self._rows, self.layout, flex=self._flex, reduction="none")
            loss = losses.sum() / n_tokens
            perception, named = self.heads.loss(seen, self._targets) if self.heads else (torch.zeros_like(loss),) * 2
            perception = perception / n_objects
        (loss + self.config.lessons.perception * perception).backward()
        by_kind = self._by_kind(losses.detach()) / n_tokens
        self._flat[-_N_STATS:] = torch.cat([torch.stack([loss.detach(), perception.detach(), named / n_objects]), by_kind])

    def _by_kind(self, losses: torch.Tensor) -> torch.Tensor:
        """(4,): of questions their loss and how many tokens it is the sum of; the same of tracks."""
        lesson = self._rows.lesson.flatten()[self._rows.before]
        counts = self._rows.targets != packed.PADDING
        track, question = lessons.kinds(self.config.lessons.n_tracks)
        of_questions, of_tracks = counts & (lesson >= question), counts & (lesson >= track) & (lesson < question)
        sums = [values for kind in (of_questions, of_tracks) for values in ((losses * kind).sum(), kind.sum())]
        return torch.stack([values.to(losses.dtype) for values in sums])

    def _update(self) -> None:
        gradient, stats = self._flat[:-_N_STATS], self._flat[-_N_STATS:]
        norm = gradient.norm()
        gradient.mul_((self.config.optimizer.max_grad_norm / (norm + 1e-6)).clamp(max=1.0))
        for optimizer in self.optimizers:
            optimizer.step()
        self.sums.add_(torch.cat([stats, norm[None]]))


def _parts(model: Any, heads: Heads | None, by_muon: bool) -> tuple[list[Any], list[Any], list[Any]]:
    """Parameters by what updates them: Muon, AdamW with weight decay, AdamW without."""
    matrices, others, plain = [], [], []
    for name, parameter in (*model.named_parameters(), *(heads.named_parameters("heads") if heads else ())):
        is_inner = any(part in name for part in (".blocks.", ".layers.", ".merger."))
        if parameter.ndim < 2:
            plain.append(parameter)
        elif by_muon and is_inner and parameter.ndim == 2:
            matrices.append(parameter)
        else:
            others.append(parameter)
    return matrices, others, plain
