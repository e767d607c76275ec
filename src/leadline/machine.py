"""What numbers were measured on, for every table and manifest."""

from __future__ import annotations

import os
import platform
import time
from datetime import UTC, datetime
from pathlib import Path


def describe_machine() -> dict[str, str | int]:
    """The machine as it stands in every table: cpu, cores usable by this process, gpu, torch, python, system, date."""
    import torch

    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "load": _load(),
        "date": datetime.now(UTC).date().isoformat(),
    }


def one_line(machine: dict[str, str | int]) -> str:
    """The same for a caption."""
    return ", ".join(f"{key} {value}" for key, value in machine.items())


def pin_threads(count: int) -> None:
    """Sets the threads that torch and OpenCV use; call before anything is measured."""
    import cv2
    import torch

    torch.set_num_threads(count)
    cv2.setNumThreads(count)


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _load() -> str:
    """Processes that wanted a core in the last minute: above 0 before a run, other work disturbs the timings."""
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


def rest() -> None:
    """Between two programs that are timed in turns, until the threads of the one before have come to rest.

    A pool of threads waits for its next work by looking for it again and again, ONNX Runtime's for up to 50 ms, on
    cores that the next program needs: two sessions in turns without a rest took 136 ms each where either takes 112.
    """
    time.sleep(0.06)
