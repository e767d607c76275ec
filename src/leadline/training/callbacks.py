"""What happens beside the steps of training: the average, checkpoints, the watch on the loss, progress."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning

from leadline.errors import UserError
from leadline.training.module import Training


class EachStep(lightning.Callback):
    """Calls `after_step` once after each optimizer step, whatever the number of batches that it takes."""

    def __init__(self) -> None:
        self._seen = -1

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self._seen = trainer.global_step

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step != self._seen:
            self._seen = trainer.global_step
            self.after_step(trainer, pl_module, trainer.global_step)

    def after_step(self, trainer: lightning.Trainer, module: Training, step: int) -> None:
        raise NotImplementedError


class Average(EachStep):
    """Moves the averaged weights along."""

    def after_step(self, trainer: lightning.Trainer, module: Training, step: int) -> None:
        module.update_average()


class Finite(EachStep):
    """Stops the run where the loss or its gradient is not finite; checkpoints written before are kept.

    Looks at every step on a CPU; every `every` steps elsewhere, where looking waits for the device.
    """

    def __init__(self, folder: Path, every: int):
        super().__init__()
        self.folder, self.every = folder, every

    def after_step(self, trainer: lightning.Trainer, module: Training, step: int) -> None:
        if module.device.type == "cpu" or step % self.every == 0:
            self.check(module)

    def check(self, module: Training) -> None:
        bad = float(module.bad_step)
        if math.isinf(bad):
            return
        last = self.folder / "last.ckpt"
        kept = f"the checkpoint before it is {last}" if last.exists() else "no checkpoint had been written yet"
        raise UserError(
            f"step {int(bad)}: the loss or its gradient is not finite; {kept}: "
            "try a lower learning rate, a smaller clip, or precision 32"
        )


class Checkpoints(EachStep):
    """Writes `last.ckpt` every `every` steps and at the end, and calls `weights(step)` to write the weights alone.

    The file is written beside and renamed, so that there is a whole one at any moment.
    """

    def __init__(self, folder: Path, every: int, finite: Finite, weights: Callable[[int], Any]):
        super().__init__()
        self.folder, self.every, self.finite, self.weights = folder, every, finite, weights
        self._written = -1

    def after_step(self, trainer: lightning.Trainer, module: Training, step: int) -> None:
        if step % self.every == 0 or step >= trainer.max_steps or trainer.should_stop:
            self.write(trainer, module, step)

    def write(self, trainer: lightning.Trainer, module: Training, step: int) -> None:
        self.finite.check(module)
        temporary = self.folder / f".last.ckpt.{os.getpid() if trainer.is_global_zero else 'other'}"
        trainer.save_checkpoint(temporary, weights_only=False)  # on every rank, as Lightning asks
        if trainer.is_global_zero:
            _flush(temporary)
            os.replace(temporary, self.folder / "last.ckpt")
            self.weights(step)


def _flush(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())


class StopAfter(EachStep):
    """Ends the sitting, not the run, after some steps; comes before `Checkpoints`, which then writes."""

    def __init__(self, steps: int):
        super().__init__()
        self.steps = steps
        self._end = 0

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        super().on_train_start(trainer, pl_module)
        self._end = trainer.global_step + self.steps

    def after_step(self, trainer: lightning.Trainer, module: Training, step: int) -> None:
        if step >= self._end:
            trainer.should_stop = True


class Signals(EachStep):
    """Ends the sitting on Ctrl-C or SIGTERM once the step is done; comes before `Checkpoints`, which then writes.

    A second Ctrl-C stops at once. Several processes agree every `every` steps, so that all stop after the same one.
    """

    def __init__(self, every: int, journal: Journal):
        super().__init__()
        self.every, self.journal = every, journal
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        super().on_train_start(trainer, pl_module)
        if threading.current_thread() is threading.main_thread():  # elsewhere Python takes no handlers
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._receive)

    def _receive(self, number: int, frame: Any) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        if self.received is None and number == signal.SIGINT:
            self.journal.show("stopping after this step; Ctrl-C again stops at once, without a checkpoint")
        self.received = number

    def after_step(self, trainer: lightning.Trainer, module: Training, step: int) -> None:
        stop = self.received is not None
        if trainer.world_size > 1:
            if step % self.every:
                return
            stop = trainer.strategy.reduce_boolean_decision(stop, all=False)
        if stop:
            self.received = self.received or signal.SIGTERM  # where another process was told
            trainer.should_stop = True

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self.restore()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self.restore()

    def restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}


class Journal:
    """Lines about the run: kept in a file, and shown on stderr."""

    def __init__(self, path: Path):
        self.path = path
        self.show: Callable[[str], Any] = to_stderr

    def keep(self, line: str) -> None:
        # A full disk is told where a checkpoint is written.
        with contextlib.suppress(OSError), self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def tell(self, line: str) -> None:
        self.keep(line)
        self.show(line)


def to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class Progress(EachStep):
    """A bar with rate and loss on a terminal; elsewhere a line every so often. The journal has the line anyway."""

    def __init__(self, total: int, every: int, journal: Journal):
        super().__init__()
        self.total, self.every, self.journal = total, every, journal
        self._bar: Any = None
        self._task: Any = None
        self._since = (0, 0.0)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        super().on_train_start(trainer, pl_module)
        self._since = trainer.global_step, time.perf_counter()
        if trainer.is_global_zero:
            if trainer.global_step:
                self.journal.tell(f"going on from step {trainer.global_step}")
            if sys.stderr.isatty():
                self._open(trainer.global_step)

    def _open(self, step: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
        self._bar = Progress(*columns, console=Console(stderr=True))
        self._task = self._bar.add_task("", total=self.total, completed=step)
        self._bar.start()
        self.journal.show = self._bar.console.print

    def after_step(self, trainer: lightning.Trainer, module: Training, step: int) -> None:
        if not trainer.is_global_zero:
            return
        if self._bar is not None:
            self._bar.update(self._task, completed=step)
        if step % self.every and step < self.total:
            return
        before, then = self._since
        self._since = step, time.perf_counter()
        rate = (step - before) / max(self._since[1] - then, 1e-9)
        text = f"loss {float(module.shares['loss']):.4f}  {rate:.2f} it/s"
        line = f"step {step}/{self.total}  {text}"
        if self._bar is not None:
            self._bar.update(self._task, description=text)
            self.journal.keep(line)
        else:
            self.journal.tell(line)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self.close()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self.close()
        if isinstance(exception, KeyboardInterrupt) and trainer.is_global_zero:
            self.journal.tell(
                f"stopped at step {trainer.global_step}: the same command goes on from the last checkpoint"
            )

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
            self.journal.show = to_stderr
