"""The training loop for models that need checkpoints, validation and tracking.

It trains any module whose `forward(batch)` gives `(loss, metrics)`; small networks are trained by `fit`.
"""

import math
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from ghostpad import __version__
from ghostpad.config import to_plain
from ghostpad.machine import keep_freed_memory
from ghostpad.progress import progress
from ghostpad.training.checkpoint import RunFolder, read_for_resume
from ghostpad.training.config import LoopConfig, check_loop
from ghostpad.training.distributed import ProcessGroup, stop_signals
from ghostpad.training.fit import optimizer_step
from ghostpad.training.prepared_model import PreparedModel
from ghostpad.training.schedule import Sampler, learning_rate
from ghostpad.training.task import Task
from ghostpad.training.throughput import Throughput
from ghostpad.training.tracking import NullTracker, Tracker


class Loop:
    """One run of a task."""

    def __init__(self, task: Task, config: LoopConfig, group: ProcessGroup) -> None:
        check_loop(config, group.world_size)
        if group.device.type == "cpu":
            keep_freed_memory()
        self.task, self.config, self.group = task, config, group
        self.model = task.model
        self.sampler = Sampler(task.num_rows, config.batch_size, config.seed)
        self.optimizer = torch.optim.Adam(
            task.parameters or self.model.parameters(),
            lr=config.optimizer.learning_rate,
            betas=(config.optimizer.beta1, config.optimizer.beta2),
            fused=True,
        )
        self.prepared = PreparedModel(self.model, config, group)
        fp16 = self.prepared.precision == "fp16"
        self.scaler = torch.amp.GradScaler(group.device.type, enabled=fp16)  # type: ignore[attr-defined]
        self.step, self.best = 0, math.inf
        self.schedule = self._schedule()
        self.folder = RunFolder(config.out, group.is_first)

    def about(self) -> dict[str, Any]:
        """Plain facts of the run: hyperparameters, architecture and machine."""
        sizes = {
            name: sum(p.numel() for p in part.parameters()) for name, part in self.model.named_children()
        }
        device = self.group.device
        return {
            "config": to_plain(self.config),
            "model_config": self.task.model_config,
            "architecture": str(self.model).splitlines(),
            "num_parameters": {**sizes, "all": sum(p.numel() for p in self.model.parameters())},
            "data": self.task.data,
            "precision": self.prepared.precision,
            "processes": self.group.world_size,
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
            "versions": {"ghostpad": __version__, "torch": torch.__version__},
        }

    # -- state ------------------------------------------------------------------------------------------

    def prepare_folder(self) -> None:
        """Resume, start afresh, or refuse.

        Raises:
            UserError: the folder holds other files, or a run that is neither to be resumed nor overwritten.
        """
        resume, overwrite = self.config.resume, self.config.overwrite
        if self.group.broadcast(lambda: self.folder.prepare(resume, overwrite)):
            plain = to_plain(self.config)
            self.load_state(read_for_resume(self.folder.last, self.task.kind, plain, self.task.data))

    def state(self) -> dict[str, Any]:
        """Everything that a resumed run needs to equal an uninterrupted one."""
        return {
            "kind": self.task.kind,
            "config": to_plain(self.config),
            "model_config": self.task.model_config,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "step": self.step,
            "best": self.best,
            "rng": torch.get_rng_state(),
            "data": self.task.data,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from the state of an earlier run."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.step, self.best = state["step"], state["best"]
        self.schedule = self._schedule()
        self.folder.saved_step = self.step
        torch.set_rng_state(state["rng"])

    def _schedule(self) -> LambdaLR:
        """Learning rates from the current step on."""
        for group in self.optimizer.param_groups:
            group["initial_lr"] = group.get("share", 1.0)
        rate = partial(learning_rate, self.config.optimizer, num_steps=self.config.steps)
        return LambdaLR(self.optimizer, rate, last_epoch=self.step - 1)

    # -- one step ---------------------------------------------------------------------------------------

    def train_step(self) -> dict[str, Tensor | float]:
        """One optimizer step; returns its metrics as tensors on the device.

        The gradients of micro-batches add up to that of their batch, and so do codebook counts and moving
        averages. Batch norm and the entropy term are statistics of a batch and see one micro-batch at a
        time; `checkpointing` saves memory without changing a number.
        """
        config = self.config
        # Randomness is a function of the step, so that a resumed run draws the same.
        torch.manual_seed((config.seed * 1_000_003 + self.step) * 4096 + self.group.rank)
        rate = self.optimizer.param_groups[0]["lr"]
        micro_rows = self._micro_rows(self.step)
        if self.task.prefetch is not None:
            for rows in self._micro_rows(self.step + 1):
                self.task.prefetch(rows)
        names: list[str] = []
        sums = torch.zeros((), device=self.group.device)

        def losses() -> Iterator[Tensor]:
            nonlocal names, sums
            for index, rows in enumerate(micro_rows):
                with self.prepared.micro_batch(is_last=index == len(micro_rows) - 1):
                    loss, metrics = self.prepared.parallel(self.task.batch(rows, self.step))
                    yield loss
                names = list(metrics)
                sums = sums + torch.stack([value.float() for value in metrics.values()]) / len(micro_rows)

        norm = optimizer_step(
            self.optimizer, self.schedule, losses(), len(micro_rows), config.gradient_clip, self.scaler
        )
        means = dict(zip(names, self.group.mean(sums).unbind(), strict=True))
        if norm is not None:
            means["gradient_norm"] = norm
        self.step += 1
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + self.step)
        events = self.model.after_step(self.step, config.steps, self.optimizer, generator)  # type: ignore[operator]
        return {**means, "learning_rate": rate, **events}

    def _micro_rows(self, step: int) -> list[np.ndarray]:
        """Rows of this process's micro-batches after `step` steps."""
        rows = self.sampler.rows(step)[self.group.shard(self.config.batch_size)]
        return np.split(rows, self.config.accumulate)

    # -- validation -------------------------------------------------------------------------------------

    @torch.no_grad()
    def validation_loss(self, rows: np.ndarray) -> Tensor:
        """Mean reconstruction loss over held-out rows, in inference mode."""
        self.model.eval()
        total = torch.zeros((), device=self.group.device)
        for start in range(0, len(rows), self.config.batch_size):
            part = rows[start : start + self.config.batch_size]
            with self.prepared.autocast():
                _, metrics = self.prepared.for_validation(len(part))(self.task.validation_batch(part))
            total += metrics["reconstruction"] * len(part)
        self.model.train()
        return total / len(rows)

    def validate(self) -> dict[str, float]:
        """The validation loss, equal in all processes, and the task's checks in the first."""
        num, wanted = self.task.num_validation_rows, self.config.validation_pairs
        rows = np.arange(num)
        if 0 < wanted < num:
            rows = np.sort(np.random.default_rng(self.config.seed).choice(num, wanted, replace=False))
        loss = self.validation_loss(rows)
        values = {"validation_reconstruction": self.group.broadcast(lambda: float(loss))}
        if self.task.checks is not None and self.group.is_first:
            self.model.eval()
            values |= {f"validation_{name}": value for name, value in self.task.checks().items()}
            self.model.train()
        return values

    # -- the run ----------------------------------------------------------------------------------------

    def run(self) -> dict[str, float]:
        """Train to the end (or to `stop_after`); returns the last validation.

        Raises:
            KeyboardInterrupt: interrupted; `last.pt` holds the step that was reached.
        """
        config = self.config
        end = min(config.steps, config.stop_after or config.steps)
        tracker: Tracker | NullTracker = NullTracker()
        if self.group.is_first:
            name = f"ghostpad-{self.task.kind}"
            tracker = Tracker(config.out, config.tracker, self.about(), self.step, name)
        bar = progress(what="train", unit="steps", total=end, shown=self.group.is_first)
        bar.update(self.step)
        throughput = Throughput(config.batch_size, self.step, self.group.device)
        values: dict[str, float] = {}
        self.model.train()
        try:
            with stop_signals() as stop:
                while self.step < end and not self._is_stopped(stop):
                    self._tracked_step(tracker, bar, throughput, end)
                    if self._is_evaluated(end):
                        with throughput.paused():
                            values = self._evaluate(tracker, end) or values
            if self.folder.saved_step != self.step:
                tracker.flush()
                self.folder.save(self.step, self.state)
            if self.step < end:
                raise KeyboardInterrupt
        finally:
            bar.close()
            tracker.close()
            self.folder.release()
        return values

    def _is_stopped(self, stop: threading.Event) -> bool:
        """Whether to end the run; all processes end it at the same step."""
        is_costly = self.group.world_size > 1 and self.group.device.type == "cuda"
        if is_costly and self.step % self.config.log_every:
            return False
        return self.group.any(stop.is_set())

    def _tracked_step(
        self, tracker: Tracker | NullTracker, bar: Any, throughput: Throughput, end: int
    ) -> None:
        """One step, with the metrics that are logged at each step."""
        config = self.config
        metrics = self.train_step()
        if config.validation_micro_batch:
            size = config.validation_micro_batch
            rows = np.arange(self.step * size, (self.step + 1) * size) % self.task.num_validation_rows
            metrics["validation_loss"] = self.validation_loss(rows)
        bar.update(1)
        is_logged = self.step % config.log_every == 0 or self.step == end
        tracker.log(self.step, metrics | (throughput.metrics(self.step) if is_logged else {}))
        if is_logged:
            bar.set_postfix_str(_summary([row for _, row in tracker.flush()]), refresh=False)
        estimate = throughput.estimate(self.step, end)
        if estimate and self.group.is_first:
            print(f"{estimate} {self.task.advice}".rstrip(), flush=True)

    def _is_evaluated(self, end: int) -> bool:
        """Whether to validate, draw or save before the next step."""
        config = self.config
        periods = (config.validate_every, config.histogram_every, config.examples_every, config.save_every)
        is_time = any(map(self._is_multiple, periods)) or self.folder.saved_before(config.save_seconds)
        return is_time or self.step == end

    def _is_multiple(self, period: int) -> bool:
        """Whether this step is a multiple of `period`; 0 for never."""
        return period > 0 and self.step % period == 0

    def _evaluate(self, tracker: Tracker | NullTracker, end: int) -> dict[str, float] | None:
        """Validate, draw and save; saving comes last, when everything else is written."""
        config, names = self.config, []
        values = None
        if self._is_multiple(config.validate_every) or self.step == end:
            values = self.validate()
            tracker.log(self.step, dict(values))
            loss = values["validation_reconstruction"]
            if loss < self.best or not (config.out / "best.pt").is_file():
                names.append("best.pt")
            self.best = min(loss, self.best)
        if self._is_multiple(config.histogram_every) and hasattr(self.model, "code_counts"):
            tracker.histogram(self.step, "code_counts", self.model.code_counts())  # type: ignore[operator]
        if self.task.examples and self.group.is_first and self._is_multiple(config.examples_every):
            tracker.image(self.step, "reconstructions", self.task.examples())
        if self._is_multiple(config.save_every):
            names.append(f"step_{self.step:06d}.pt")
        if names or self.folder.saved_before(config.save_seconds):
            tracker.flush()
            self.folder.save(self.step, self.state, *names)
        return values


def _summary(rows: list[dict[str, float]]) -> str:
    losses = [row["loss"] for row in rows if "loss" in row]
    text = f"loss {np.mean(losses):.5f}" if losses else ""
    gains = [row["validation_gain_over_copy_db"] for row in rows if "validation_gain_over_copy_db" in row]
    return f"{text}, gain over copy {gains[-1]:.1f} dB" if gains else text
