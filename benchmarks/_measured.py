"""src/leadline/weights/measured.json: the numbers that `leadline models` prints, a benchmark per task."""

import json
from pathlib import Path
from typing import Any

from leadline.files import write_whole
from leadline.machine import describe_machine

MEASURED = Path(__file__).parent.parent / "src" / "leadline" / "weights" / "measured.json"


def note_measured(task: str, how: str, models: dict[str, dict[str, float]]) -> None:
    """Puts the numbers of a task's models into the file, the other tasks' staying as they are.

    Args:
        how: the data, and the command.
        models: name -> {column with its unit: number}.
    """
    known: dict[str, Any] = json.loads(MEASURED.read_text(encoding="utf-8")) if MEASURED.is_file() else {}
    tasks = {key: value for key, value in known.get("about", {}).items() if key not in describe_machine()}
    content = {"about": {**tasks, task: how, **describe_machine()}, "models": {**known.get("models", {}), **models}}
    write_whole(MEASURED, (json.dumps(content, indent=2) + "\n").encode())
