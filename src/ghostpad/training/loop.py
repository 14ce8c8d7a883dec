"""The one training loop: any model whose `forward(batch)` gives `(loss, metrics)`."""

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
from ghostpad.progress import progress
from ghostpad.training.checkpoint import read_for_resume
from ghostpad.training.distributed import ProcessGroup
from ghostpad.training.fit import optimizer_step
from ghostpad.training.forward import Forward
from ghostpad.training.interrupts import stop_signals
from ghostpad.training.pace import Pace
from ghostpad.training.run_folder import RunFolder
from ghostpad.training.schedule import Sampler, learning_rate
from ghostpad.training.task import LoopConfig, Task, check_loop
from ghostpad.training.tracking import NullTracker, Tracker
from ghostpad.training.validation import Validation


class Loop:
    """One run of a task."""

    def __init__(self, task: Task, config: LoopConfig, group: ProcessGroup) -> None:
        check_loop(config, group.world_size)
        self.task, self.config, self.group = task, config, group
        self.model = task.model
        self.sampler = Sampler(task.num_rows, config.batch_size, config.seed)
        self.optimizer = torch.optim.Adam(
            task.parameters or self.model.parameters(),
            lr=config.optimizer.learning_rate,
            betas=(config.optimizer.beta1, config.optimizer.beta2),
            fused=True,
        )
        self.forward = Forward(self.model, config, group)
        self.precision = self.forward.precision
        self.scaler = torch.amp.GradScaler(group.device.type, enabled=self.precision == "fp16")  # type: ignore[attr-defined]
        self.validation = Validation(task, config, group, self.forward)
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
            "precision": self.precision,
            "processes": self.group.world_size,
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
            "versions": {"ghostpad": __version__, "torch": torch.__version__},
        }

    # -- files ------------------------------------------------------------------------------------------

    def prepare_folder(self) -> None:
        """Resume, start afresh, or refuse.

        Raises:
            UserError: the folder holds something else, or a run that is not to be resumed or overwritten.
        """
        resume, overwrite = self.config.resume, self.config.overwrite
        if self.group.broadcast(lambda: self.folder.claim(resume, overwrite)):
            plain = to_plain(self.config)
            self.load_state(read_for_resume(self.folder.last, self.task.kind, plain, self.task.data))

    def state(self) -> dict[str, Any]:
        """Everything needed to go on as if nothing had happened."""
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
        """Take up the state of an earlier run."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.step, self.best = state["step"], state["best"]
        self.schedule = self._schedule()
        self.folder.saved_step = self.step
        torch.set_rng_state(state["rng"])

    def _schedule(self) -> LambdaLR:
        """Learning rates from the current step on; a function of the step, so nothing to save."""
        for group in self.optimizer.param_groups:
            group["initial_lr"] = group.get("share", 1.0)
        rate = partial(learning_rate, self.config.optimizer, num_steps=self.config.steps)
        return LambdaLR(self.optimizer, rate, last_epoch=self.step - 1)

    # -- one step ---------------------------------------------------------------------------------------

    def train_step(self) -> dict[str, Tensor | float]:
        """One optimizer step; returns its metrics as tensors on the device.

        Gradients of micro-batches add up to that of their batch, codebook counts and moving averages too.
        Batch norm and the entropy term are about a whole batch and see a micro-batch at a time; to save
        memory with nothing changed there is `checkpointing`.
        """
        config = self.config
        # What is random in a step depends on the step alone, so that a resumed run draws the same.
        torch.manual_seed((config.seed * 1_000_003 + self.step) * 4096 + self.group.rank)
        rate = self.optimizer.param_groups[0]["lr"]
        sums, names = torch.zeros((), device=self.group.device), []
        micro_rows = self._micro_rows(self.step)
        if self.task.expect is not None:
            for part in self._micro_rows(self.step + 1):
                self.task.expect(part)

        def losses() -> Iterator[Tensor]:
            nonlocal sums, names
            for index, part in enumerate(micro_rows):
                with self.forward.micro_batch(is_last=index == len(micro_rows) - 1):
                    loss, metrics = self.forward.parallel(self.task.batch(part, self.step))
                    yield loss
                names = list(metrics)
                sums = sums + torch.stack([value.float() for value in metrics.values()]) / len(micro_rows)

        norm = optimizer_step(
            self.optimizer, self.schedule, losses(), len(micro_rows), config.gradient_clip, self.scaler
        )
        totals = dict(zip(names, self.group.mean(sums).unbind(), strict=True))
        if norm is not None:
            totals["gradient_norm"] = norm
        self.step += 1
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + self.step)
        events = self.model.after_step(self.step, config.steps, self.optimizer, generator)  # type: ignore[operator]
        return {**totals, "learning_rate": rate, **events}

    def _micro_rows(self, step: int) -> list[np.ndarray]:
        """Rows of this process's micro-batches after `step` steps."""
        rows = self.sampler.rows(step)[self.group.shard(self.config.batch_size)]
        return np.split(rows, self.config.accumulate)

    def validate(self) -> tuple[dict[str, float], bool]:
        """Validate and ask the checks; returns the numbers and whether this is the best model so far."""
        values = self.validation.numbers()
        loss = values["validation_reconstruction"]
        is_best = loss < self.best or not (self.config.out / "best.pt").is_file()
        self.best = min(loss, self.best)
        return values, is_best

    # -- the run ----------------------------------------------------------------------------------------

    def run(self) -> dict[str, float]:
        """Train to the end (or to `stop_after`); returns the last validation.

        Raises:
            KeyboardInterrupt: interrupted; `last.pt` holds the step that was reached.
        """
        config = self.config
        end = min(config.steps, config.stop_after or config.steps)
        tracker = NullTracker()
        if self.group.is_first:
            name = f"ghostpad-{self.task.kind}"
            tracker = Tracker(config.out, config.tracker, self.about(), self.step, name)
        bar = progress(what="train", unit="steps", total=end, shown=self.group.is_first)
        bar.update(self.step)
        pace = Pace(config.batch_size, self.step, self.group.device)
        values: dict[str, float] = {}
        self.model.train()
        try:
            with stop_signals() as stop:
                while self.step < end and not self._stops(stop):
                    self._learn(tracker, bar, pace, end)
                    if self._has_duties(end):
                        with pace.paused():
                            values = self._look_back(tracker, end) or values
            if self.folder.saved_step != self.step:
                tracker.flush()
                self.folder.save(self.step, self.state)
            if self.step < end:
                raise KeyboardInterrupt
        finally:
            bar.close()
            tracker.close()
        return values

    def _stops(self, stop: threading.Event) -> bool:
        """Whether to end the run; all processes end it at the same step."""
        costs_a_wait = self.group.world_size > 1 and self.group.device.type == "cuda"
        if costs_a_wait and self.step % self.config.log_every:
            return False
        return self.group.any(stop.is_set())

    def _learn(self, tracker: NullTracker, bar: Any, pace: Pace, end: int) -> None:
        """One step with what is logged of each step."""
        config = self.config
        metrics = self.train_step()
        if config.validation_micro_batch:
            metrics["validation_loss"] = self.validation.loss(self.validation.rotating_rows(self.step))
        bar.update(1)
        is_due = self.step % config.log_every == 0 or self.step == end
        tracker.log(self.step, metrics | (pace.look(self.step) if is_due else {}))
        if is_due:
            bar.set_postfix_str(_summary([row for _, row in tracker.flush()]), refresh=False)
        warning = pace.warning(self.step, end)
        if warning and self.group.is_first:
            print(f"{warning} {self.task.advice}".rstrip(), flush=True)

    def _has_duties(self, end: int) -> bool:
        """Whether there is something to do before the next step."""
        config = self.config
        periods = (config.validate_every, config.histogram_every, config.examples_every, config.save_every)
        due = any(self._is_due(period) for period in periods)
        return due or self.step == end or self.folder.is_due(config.save_seconds)

    def _is_due(self, period: int) -> bool:
        """Whether this step is one of every `period`; 0 for never."""
        return period > 0 and self.step % period == 0

    def _look_back(self, tracker: NullTracker, end: int) -> dict[str, float] | None:
        """Do what is due between steps; saving comes last, when all else is on file."""
        config, names = self.config, []
        values = None
        if self._is_due(config.validate_every) or self.step == end:
            values, is_best = self.validate()
            tracker.log(self.step, dict(values))
            names += ["best.pt"] if is_best else []
        if self._is_due(config.histogram_every) and hasattr(self.model, "code_counts"):
            tracker.histogram(self.step, "code_counts", self.model.code_counts())  # type: ignore[operator]
        if self.task.examples and self.group.is_first and self._is_due(config.examples_every):
            tracker.image(self.step, "reconstructions", self.task.examples())
        if self._is_due(config.save_every):
            names.append(f"step_{self.step:06d}.pt")
        if names or self.folder.is_due(config.save_seconds):
            tracker.flush()
            self.folder.save(self.step, self.state, *names)
        return values


def _summary(rows: list[dict[str, float]]) -> str:
    losses = [row["loss"] for row in rows if "loss" in row]
    text = f"loss {np.mean(losses):.5f}" if losses else ""
    gains = [row["validation_gain_over_copy_db"] for row in rows if "validation_gain_over_copy_db" in row]
    return f"{text}, gain over copy {gains[-1]:.1f} dB" if gains else text
