"""Does the most valuable next chunk of the zoo's training, wherever it runs, and says what it did.

    python benchmarks/zoo/next.py                 # a chunk of nine minutes
    python benchmarks/zoo/next.py --minutes 50    # a longer one
    python benchmarks/zoo/next.py --list          # how far each job is

The jobs and their order stand in queue.yaml. A job is a training run in STATE/NAME (default runs/zoo), resumable like
any other: a chunk ends with SIGTERM, on which `leadline train` keeps the step that it is at, and the next chunk goes on
from there, on this machine or, after the folder was copied, on another. Each chunk adds a line to STATE/done.csv.
"""

from __future__ import annotations

import argparse
import csv
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import torch
import yaml

from leadline.machine import describe_machine, one_line
from leadline.training.recipe import Recipe, load_recipe

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
GRACE = 60  # seconds for a run to keep its step and end


@dataclass(frozen=True)
class Job:
    """One training of the queue; see queue.yaml."""

    name: str
    recipe: str
    set: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    needs: str | None = None
    state: Path = field(default=Path("runs/zoo"))

    @property
    def folder(self) -> Path:
        return self.state / self.name

    @property
    def changes(self) -> list[str]:
        """`set` with the files of the jobs before it in their places."""
        files = {name: str(self.state / name / f"{name}.safetensors") for name in self.after}
        return [f"name={self.name}", *(change.format(**files) for change in self.set)]

    def load(self) -> Recipe:
        return load_recipe(ROOT / self.recipe, self.changes)

    @property
    def is_done(self) -> bool:
        return (self.folder / f"{self.name}.safetensors").is_file()

    def step(self) -> int:
        """Where the run stands."""
        last = self.folder / "last.ckpt"
        if not last.is_file():
            return 0
        return int(torch.load(last, map_location="cpu", weights_only=True, mmap=True)["global_step"])


def read_queue(path: Path, state: Path) -> list[Job]:
    jobs = []
    for entry in yaml.safe_load(path.read_text(encoding="utf-8")):
        lists = {key: tuple(entry[key]) for key in ("set", "after") if key in entry}
        jobs.append(Job(entry["name"], entry["recipe"], needs=entry.get("needs"), state=state, **lists))
    return jobs


def choose(jobs: list[Job], has_gpu: bool) -> Job | None:
    """The first job that is not done, whose forerunners are, and that suits the machine."""
    done = {job.name for job in jobs if job.is_done}
    for job in jobs:
        if not job.is_done and set(job.after) <= done and (has_gpu or job.needs != "gpu"):
            return job
    return None


def run_chunk(job: Job, minutes: float) -> None:
    """Trains for about so long; the run keeps its last step when it is stopped."""
    changes = [part for change in job.changes for part in ("--set", change)]
    program = [sys.executable, "-c", "from leadline.cli.main import run; run()"]
    process = subprocess.Popen([*program, "train", str(ROOT / job.recipe), "-o", str(job.folder), *changes])
    try:
        process.wait(minutes * 60 - GRACE if minutes * 60 > 2 * GRACE else minutes * 60)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
    if process.returncode not in (0, 128 + signal.SIGTERM, -signal.SIGTERM, -signal.SIGKILL):
        sys.exit(f"{job.name}: the training ended with exit code {process.returncode}; see above")


def note(state: Path, job: Job, begun: int, seconds: float) -> str:
    """A line for STATE/done.csv and for people."""
    total = job.load().total_steps
    step = total if job.is_done else job.step()
    machine = one_line(describe_machine())
    row = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"), "job": job.name, "from_step": begun, "to_step": step,
        "of": total, "seconds": round(seconds), "machine": machine,
    }  # fmt: skip
    path = state / "done.csv"
    is_new = not path.is_file()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(row), lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerow(row)
    rate = (step - begun) / seconds if seconds else 0.0
    told = f"{job.name}: steps {begun} to {step} of {total} in {seconds:.0f} s ({rate:.2f} a second), {machine}"
    return told + (f"; finished: {job.folder / (job.name + '.safetensors')}" if job.is_done else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--state", type=Path, default=ROOT / "runs" / "zoo", help="where the runs live [runs/zoo]")
    parser.add_argument("--queue", type=Path, default=HERE / "queue.yaml")
    parser.add_argument("--job", help="this job rather than the first")
    parser.add_argument("--list", action="store_true", help="show the queue, train nothing")
    options = parser.parse_args()
    jobs = read_queue(options.queue, options.state)
    has_gpu = torch.cuda.is_available()
    if options.list:
        for job in jobs:
            total = job.load().total_steps
            print(f"{job.name:24} {'done' if job.is_done else f'{job.step()} of {total} steps':24} {job.needs or ''}")
        return
    chosen = [job for job in jobs if job.name == options.job] if options.job else [choose(jobs, has_gpu)]
    if not chosen or chosen[0] is None:
        sys.exit("nothing to do here: every job is done, waits for another, or needs a GPU (--list shows them)")
    job = chosen[0]
    begun, start = job.step(), time.monotonic()
    job.state.mkdir(parents=True, exist_ok=True)
    run_chunk(job, options.minutes)
    print(note(job.state, job, begun, time.monotonic() - start))


if __name__ == "__main__":
    main()
