"""One step of pretraining: forward, backward, sum over processes, update.

A model of 6 M parameters computes for a few milliseconds per step, while launching its kernels from Python takes tens. On a GPU
all inputs are therefore copied to fixed places, and what follows is two recorded CUDA graphs with the sum of gradients between
them. Elsewhere the same functions run unrecorded.
"""

from contextlib import nullcontext
from typing import Any, NamedTuple

import torch

from videothinker.pretrain import forward, tower
from videothinker.pretrain.course import kinds
from videothinker.pretrain.layout import Layout
from videothinker.pretrain.muon import Muon
from videothinker.pretrain.perception import Heads, Targets
from videothinker.pretrain.ranks import Ranks
from videothinker.pretrain.scenes import N_CLIP_FRAMES
from videothinker.pretrain.settings import OptimizerSettings, PretrainConfig

_WARM_UPS = 3
"""Runs before recording, in which kernels are compiled and chosen."""
_BETAS = (0.9, 0.98)
_AHEAD = 4
"""Steps by which the host may be ahead of its GPU: a full queue would make the calls of other threads wait, too."""
_N_SUMS = 7
"""Numbers that are summed over processes together with the gradients: `StepMeans` without the norm, and two counts."""


class StepMeans(NamedTuple):
    """Losses and gradient norm of one step, or their means over several."""

    loss: float
    """Nats per reply token."""
    perception: float
    """Loss of the perception heads per object in sight."""
    named: float
    """Share of the cells with an object that are named right."""
    loss_questions: float
    """Nats per token of thoughts and answers; 0 where there are none."""
    loss_tracks: float
    """Nats per token of tracks; 0 where there are none."""
    grad_norm: float
    """Before clipping."""


class Inputs(NamedTuple):
    """What one step is taken on."""

    frames: torch.Tensor
    """(C, T, 3, H, W) uint8: the clips of a round."""
    targets: Targets
    """What these clips show, (C, ...)."""
    clip: torch.Tensor
    """(B,): which of the clips each of this step's sequences is about."""
    sequences: forward.Sequences
    counts: torch.Tensor
    """(2,): reply tokens, and cells with an object, in this step's sequences of all processes."""


class Stepper:
    """The model, its optimisers, and the fixed places of a step's inputs. Weights keep their addresses, too."""

    def __init__(self, model: Any, processor: Any, layout: Layout, config: PretrainConfig, ranks: Ranks, *, flex: bool) -> None:
        self.model, self.processor, self.layout, self.config, self.ranks, self._flex = (
            model, processor, layout, config, ranks, flex
        )  # fmt: skip
        device, on_gpu = ranks.device, ranks.device != "cpu"
        self._graphs: list[Any] = []
        self.heads = Heads(model.config.text_config.hidden_size).to(device) if config.lessons.perception else None
        self.rate = torch.zeros((), device=device)
        self.optimizers, parameters = _optimizers(model, self.heads, config.optimizer, self.rate)
        # One flat buffer holds all gradients and, behind them, the numbers that are summed with them, so that processes add all
        # of it up in one call.
        sizes = [p.numel() for p in parameters]
        self._flat = torch.zeros(sum(sizes) + _N_SUMS, device=device)
        for parameter, gradient in zip(parameters, torch.split(self._flat[:-_N_SUMS], sizes), strict=True):
            parameter.grad = gradient.view_as(parameter)
        for optimizer in self.optimizers:  # at rate 0 this changes no weight, and makes what a graph must find in place
            optimizer.step()
        for state in self.optimizers[0].state.values():
            state["step"].zero_()
        self.sums = torch.zeros(_N_SUMS + 1, device=device)
        event: Any = torch.cuda.Event
        self._taken = [event(blocking=True) for _ in range(_AHEAD)] if on_gpu else []
        self._n_taken = 0
        self._make_places(config.optimizer.sequences_per_step // ranks.size, config.lessons.length)

    def _make_places(self, n: int, length: int) -> None:
        """Make the places of inputs, for `n` sequences of `length` tokens."""
        t, h, w = self.layout.grid
        n_seen = t * h * w // 4  # four patches make one token

        def zeros(*size: int, dtype: torch.dtype = torch.long) -> torch.Tensor:
            return torch.zeros(*size, dtype=dtype, device=self.ranks.device)

        n_targets = forward.n_targets(n, length)
        self._frames = zeros(n, N_CLIP_FRAMES, 3, self.layout.height, self.layout.width, dtype=torch.uint8)
        self._sequences = forward.Sequences(
            ids=zeros(n, length),
            lesson=zeros(n, length, dtype=torch.int32),
            positions=zeros(3, n, length),
            before=zeros(n_targets),
            targets=zeros(n_targets),
        )
        self._targets = Targets(zeros(n, n_seen), zeros(n, n_seen, 4, dtype=torch.float32))
        self._counts = torch.ones(2, device=self.ranks.device)
        self._tower_inputs = tower.tower_inputs(self.model, self.layout, n)

    def record(self) -> None:
        """Compile the layers and record the graphs. No weight changes."""
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
        """Take one step. On a GPU it is queued, and waited for `_AHEAD` steps later."""
        taken = self._taken[self._n_taken % _AHEAD] if self._taken else None
        if taken:
            taken.synchronize()
        torch.index_select(inputs.frames, 0, inputs.clip, out=self._frames)
        for into, values in zip(self._targets, inputs.targets, strict=True):
            torch.index_select(values, 0, inputs.clip, out=into)
        for into, values in zip(self._sequences, inputs.sequences, strict=True):
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

    def means(self, n_steps: int) -> StepMeans:
        """Means over the `n_steps` steps since this was last asked."""
        found = (self.sums / n_steps).tolist()
        self.sums.zero_()
        loss, perception, named, questions, n_questions, tracks, n_tracks, norm = found
        return StepMeans(
            loss=loss,
            perception=perception,
            named=named,
            loss_questions=questions / n_questions if n_questions else 0.0,
            loss_tracks=tracks / n_tracks if n_tracks else 0.0,
            grad_norm=norm,
        )

    def gradients(self) -> list[torch.Tensor]:
        """The clipped gradients of the last step, in the order of the parameters in `Stepper.optimizers`."""
        return [p.grad for o in self.optimizers for group in o.param_groups for p in group["params"]]

    def state_dict(self) -> dict[str, Any]:
        """What resuming needs."""
        return {
            "model": self.model.state_dict(),
            "heads": self.heads.state_dict() if self.heads else None,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load what `state_dict` gave. Call it before `record`, since it moves the optimisers' state to other places."""
        self.model.load_state_dict(state["model"])
        if self.heads:
            self.heads.load_state_dict(state["heads"])
        for optimizer, kept in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)
            for group in optimizer.param_groups:
                group["lr"] = self.rate

    def _backward(self) -> None:
        """Compute this process's part of the gradient and of the sums behind it.

        Every part is divided by the counts of all processes, so that the parts add up to the means over all sequences.
        """
        self._flat.zero_()
        n_tokens, n_objects = self._counts
        with torch.autocast("cuda", torch.bfloat16) if self._flat.is_cuda else nullcontext():
            patches = tower.patches(self._frames, self.processor, self.config.lessons.noise)
            seen = tower.visual_tokens(self.model, patches, self.layout, self._tower_inputs)
            losses = forward.loss(self.model, seen, self._sequences, self.layout, flex=self._flex, reduction="none")
            loss = losses.sum() / n_tokens
            perception, named = self.heads.loss(seen, self._targets) if self.heads else (torch.zeros_like(loss),) * 2
            perception = perception / n_objects
        (loss + self.config.lessons.perception * perception).backward()
        by_kind = self._by_kind(losses.detach()) / n_tokens
        self._flat[-_N_SUMS:] = torch.cat([torch.stack([loss.detach(), perception.detach(), named / n_objects]), by_kind])

    def _by_kind(self, losses: torch.Tensor) -> torch.Tensor:
        """(4,): the loss of questions and how many tokens it is the sum of, and the same of tracks."""
        # The lesson of a target is that of the token before it, which is of the same lesson: a reply follows a prompt.
        lesson = self._sequences.lesson.flatten()[self._sequences.before]
        counts = self._sequences.targets != forward.PADDING
        track, question = kinds(self.config.lessons.n_tracks)
        of_questions, of_tracks = counts & (lesson >= question), counts & (lesson >= track) & (lesson < question)
        sums = [values for kind in (of_questions, of_tracks) for values in ((losses * kind).sum(), kind.sum())]
        return torch.stack([values.to(losses.dtype) for values in sums])

    def _update(self) -> None:
        """Clip the gradient, update the weights, and add this step to the sums."""
        gradient, stats = self._flat[:-_N_SUMS], self._flat[-_N_SUMS:]
        norm = gradient.norm()
        gradient.mul_((self.config.optimizer.max_grad_norm / (norm + 1e-6)).clamp(max=1.0))
        for optimizer in self.optimizers:
            optimizer.step()
        self.sums.add_(torch.cat([stats, norm[None]]))


def _optimizers(
    model: Any, heads: Heads | None, plan: OptimizerSettings, rate: torch.Tensor
) -> tuple[list[torch.optim.Optimizer], list[Any]]:
    """AdamW, and Muon if it is wanted; and all parameters in the order in which their gradients lie."""
    on_gpu = rate.is_cuda
    matrices, others, plain = _parts(model, heads, plan.name == "muon")
    adamw = torch.optim.AdamW(
        [{"params": others, "weight_decay": plan.weight_decay}, {"params": plain, "weight_decay": 0.0}],
        lr=rate,
        betas=_BETAS,
        fused=on_gpu,
        foreach=False if not on_gpu else None,
        capturable=on_gpu,
    )
    optimizers: list[torch.optim.Optimizer] = [adamw]
    if matrices:
        optimizers.append(Muon(matrices, lr=rate, weight_decay=plan.weight_decay))
    return optimizers, [*matrices, *others, *plain]


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
