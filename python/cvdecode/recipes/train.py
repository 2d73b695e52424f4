"""The training loop: one process or many, killed and resumed as if nothing had happened.

Everything random in a step depends on (seed, epoch, step) alone: the order of the videos, what is
drawn of each, dropout. So a run that is resumed from a checkpoint gives the same network as one
that was not interrupted.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import importlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, Sampler
from torchmetrics import MeanMetric

from cvdecode.data import collate
from cvdecode.recipes import checkpoint, inputs
from cvdecode.recipes.config import Recipe
from cvdecode.recipes.records import versions
from cvdecode.recipes.systems import system


@dataclasses.dataclass(frozen=True)
class Options:
    """How to run a recipe, as opposed to what it is."""

    out: Path
    """Folder of checkpoint.pt and results.jsonl."""
    seed: int = 0
    workers: int = 0
    device: str = "cpu"
    on_error: str = "raise"
    """A bad file: "raise", or "skip" and report."""
    max_steps: int | None = None
    """Stop after so many steps of this run; the checkpoint says where."""
    checkpoint_steps: int = 200
    """A checkpoint at least every so many steps, and after each epoch."""
    command: str = ""


class Order(Sampler[int]):
    """The videos of one rank in the order of (seed, epoch), from a batch on."""

    def __init__(self, count: int, seed: int, batch: int, rank: int, world: int) -> None:
        self.count, self.seed, self.batch = count, seed, batch
        self.rank, self.world = rank, world
        self.epoch = self.first = 0

    @property
    def batches(self) -> int:
        """Of each rank, all full but the last."""
        return math.ceil(math.ceil(self.count / self.world) / self.batch)

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.count)
        # Every rank gets as many: the first ones again, as DistributedSampler does.
        order = np.resize(order, math.ceil(self.count / self.world) * self.world)
        mine = order[self.rank :: self.world]
        return iter(mine[self.first * self.batch :].tolist())

    def __len__(self) -> int:
        return math.ceil(self.count / self.world) - self.first * self.batch


def rate(recipe: Recipe, epoch: int, progress: float) -> float:
    """Factor on the learning rates: steps of a tenth at the milestones, or half a cosine.

    Args:
        recipe: what is trained.
        epoch: from 0.
        progress: 0 at the first step, 1 after the last.
    """
    if recipe.train.milestones:
        return 0.1 ** sum(epoch >= at for at in recipe.train.milestones)
    return 0.5 * (1 + math.cos(math.pi * progress))


def train(
    recipe: Recipe,
    videos: inputs.Videos,
    options: Options,
    *,
    val: inputs.Videos | None = None,
    teacher: Path | None = None,
    start: Path | None = None,
    tick: Callable[[int, int, float], None] = lambda step, steps, loss: None,
) -> dict[str, Any]:
    """Train a recipe, or go on where ``options.out`` stopped.

    Under torchrun every process calls this; rank 0 writes. Batches of the recipe are of each
    process.

    Args:
        recipe: what.
        videos: to train on.
        options: how.
        val: tested after the last epoch.
        teacher: checkpoint of the net to learn from (attp, mfcd).
        start: checkpoint whose weights to start from, as far as their names and shapes agree.
        tick: called after each step with (step from 1, steps in all, loss).

    Returns:
        The last line of results.jsonl.

    Raises:
        ValueError: the folder holds a checkpoint of another recipe, seed or data.
    """
    rank, world = _join(options)
    line = _run(recipe, videos, options, rank, world, val, teacher, start, tick)
    _leave(world)  # not after an error: the others would wait
    return line


def _run(
    recipe: Recipe,
    videos: inputs.Videos,
    options: Options,
    rank: int,
    world: int,
    val: inputs.Videos | None,
    teacher: Path | None,
    start: Path | None,
    tick: Callable[[int, int, float], None],
) -> dict[str, Any]:
    """train() of one process; nothing of it outlives the call."""
    device = torch.device(options.device)
    torch.manual_seed(options.seed)
    guide = checkpoint.load(teacher).system if teacher is not None else None
    net = system(recipe, len(videos.classes), guide).to(device)
    if start is not None:
        checkpoint.start_from(net, start)
    optimisers = net.optimisers(recipe.train)
    base = {name: [group["lr"] for group in each.param_groups] for name, each in optimisers.items()}
    log = options.out / "results.jsonl"
    state = checkpoint.resume(options.out, recipe, videos, options.seed, net, optimisers)
    if rank == 0:
        options.out.mkdir(parents=True, exist_ok=True)
        _cut(log, state.log_bytes)
        if state.step == 0:
            _write(log, {"event": "start", "recipe": recipe.as_dict(), "seed": options.seed,
                         "videos": len(videos.entries), "classes": videos.classes,
                         "processes": world, "command": options.command,
                         "versions": versions()})  # fmt: skip
    data = inputs.dataset(recipe, videos, "train", seed=options.seed, on_error=options.on_error)
    order = Order(len(data), options.seed, recipe.train.batch_size, rank, world)
    order.first = state.batch  # before the loader asks for its length
    steps = recipe.train.epochs * order.batches
    model: Any = net
    if world > 1:
        model = torch.nn.parallel.DistributedDataParallel(
            net, device_ids=[device] if device.type == "cuda" else None,
            find_unused_parameters=True,
        )  # fmt: skip
    repeats = recipe.data.segments if recipe.model.system in ("clip", "mfcd") else 1
    done = 0
    line: dict[str, Any] = {"event": "nothing to do"}
    for epoch in range(state.epoch, recipe.train.epochs):
        data.set_epoch(epoch)
        order.epoch, order.first = epoch, state.batch
        loader = DataLoader(
            data, recipe.train.batch_size, sampler=order, num_workers=options.workers,
            collate_fn=collate, pin_memory=device.type == "cuda",
        )  # fmt: skip
        losses = MeanMetric().to(device)
        began, seen = time.perf_counter(), 0
        net.train()
        for batch in loader:
            if len(batch["label"]) == 0:
                raise ValueError(f"no video of a whole batch could be read: {data.report()}")
            torch.manual_seed((options.seed * 1_000_003 + state.step) * 64 + rank)
            x = inputs.prepare(recipe, batch, "train", device)
            label = batch["label"].to(device).repeat_interleave(repeats)
            loss = model(x, label, epoch, state.step)
            if not torch.isfinite(loss):
                raise ValueError(f"loss {float(loss)} at step {state.step}: lower train.lr")
            for each in optimisers.values():
                each.zero_grad(set_to_none=True)
            loss.backward()
            loss = loss.detach()
            factor = rate(recipe, epoch, state.step / steps)
            for name in net.turn(epoch, state.step):
                for group, lr in zip(optimisers[name].param_groups, base[name], strict=True):
                    group["lr"] = lr * factor
                    if recipe.train.clip_norm:
                        torch.nn.utils.clip_grad_norm_(group["params"], recipe.train.clip_norm)
                optimisers[name].step()
            losses.update(loss, len(batch["label"]))
            seen += len(batch["label"])
            state.step += 1
            state.batch += 1
            done += 1
            tick(state.step, steps, float(loss))
            stop = done == options.max_steps
            if rank == 0 and (stop or state.step % options.checkpoint_steps == 0):
                checkpoint.save(options.out, recipe, videos, options.seed, net, optimisers, state)
            if stop:
                return {"event": "stopped", "step": state.step, "loss": float(loss)}
        seconds = time.perf_counter() - began
        state.epoch, state.batch = epoch + 1, 0
        line = {
            "event": "epoch", "epoch": epoch + 1, "loss": float(losses.compute()),
            "seconds": round(seconds, 3),
            "samples_per_second": round(seen * world / seconds, 2),
            "failures": len(data.report()),
        }  # fmt: skip
        if rank == 0:
            _write(log, line)
            state.log_bytes = log.stat().st_size
            checkpoint.save(options.out, recipe, videos, options.seed, net, optimisers, state)
    if val is not None and rank == 0:
        from cvdecode.recipes.evaluate import evaluate

        result = evaluate([net], [recipe], val, workers=options.workers, device=options.device)
        line = {"event": "validation", **result.summary()}
        _write(log, line)
    return line


def _join(options: Options) -> tuple[int, int]:
    """(rank, number of processes); joins the group that torchrun announces."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1 and not dist.is_initialized():
        # Its functions have the group of the moment of import as a default, and hold it for ever:
        # imported later, as DistributedDataParallel does, gloo's threads would outlive the group
        # and run on while the interpreter is taken down, which now and then ends in SIGABRT.
        importlib.import_module("torch.distributed.nn")
        dist.init_process_group("nccl" if options.device.startswith("cuda") else "gloo")
    return (dist.get_rank(), world) if world > 1 else (0, 1)


def _leave(world: int) -> None:
    if world > 1 and dist.is_initialized():
        gc.collect()  # DistributedDataParallel is part of a cycle, and holds the group
        dist.barrier()
        dist.destroy_process_group()


def _write(log: Path, line: dict[str, Any]) -> None:
    with log.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def _cut(log: Path, size: int) -> None:
    """Forget what was logged after the checkpoint."""
    with contextlib.suppress(FileNotFoundError):
        os.truncate(log, min(size, log.stat().st_size))
