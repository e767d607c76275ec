"""What the benchmarks of pruning and of weight sharing have in common: measuring, and tables that grow."""

from __future__ import annotations

import csv
import io
import tempfile
from pathlib import Path
from typing import Any

import leadline
from leadline.checkpoint import save
from leadline.files import write_whole
from leadline.machine import describe_machine
from leadline.models import Network
from leadline.predict import NetworkPredictor
from leadline.surgeries import with_plain_weights

RESULTS = Path(__file__).parent / "results"
IMAGES = Path(__file__).parent.parent / "docs" / "images"
RECIPE = Path(__file__).parent.parent / "recipes" / "slim-finetune.yaml"
SCENES = "procedural:12,seed=4711,size=192x448"  # that no training sees


class Table:
    """A CSV file that is written after each row, so that an interrupted benchmark goes on where it stopped.

    Args:
        keys: the columns that tell rows apart.
    """

    def __init__(self, path: Path, keys: tuple[str, ...]):
        self.path, self.keys = path, keys
        self.rows: list[dict[str, Any]] = []
        if path.is_file():
            self.rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
        self._machine = describe_machine()

    def find(self, **key: Any) -> dict[str, Any] | None:
        wanted = [str(key[name]) for name in self.keys]
        return next((row for row in self.rows if [str(row[name]) for name in self.keys] == wanted), None)

    def add(self, **row: Any) -> None:
        self.rows.append(row | self._machine)
        columns = list(dict.fromkeys(name for known in self.rows for name in known))
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, columns, lineterminator="\n", restval="")
        writer.writeheader()
        writer.writerows(self.rows)
        write_whole(self.path, text.getvalue().encode())
        print({name: row[name] for name in row if row[name] not in ("", None)}, flush=True)


def accuracy(network: Network, data: str | None) -> dict[str, float | str]:
    """EPE (px) and D1 (%) on the pairs of `data` (mean of samples) and on rendered ones."""
    predictor = NetworkPredictor(with_plain_weights(network), "cpu")
    found: dict[str, float | str] = {"epe_px": "", "d1_percent": ""}
    if data is not None:
        real = leadline.evaluate({"it": predictor}, data).over_samples("it")
        found = {"epe_px": _short(real["epe"]), "d1_percent": _short(real["d1"])}
    rendered = leadline.evaluate({"it": predictor}, SCENES).over_samples("it")
    return {**found, "scenes_epe_px": _short(rendered["epe"]), "scenes_d1_percent": _short(rendered["d1"])}


def _short(value: float | None) -> float | str:
    return "" if value is None else round(value, 4)


def file_bytes(network: Network) -> int:
    """The size of its checkpoint without the history of its training, which grows with each run."""
    with tempfile.TemporaryDirectory() as folder:
        return save(network, Path(folder) / "it.safetensors", {}).stat().st_size


def load(name: str) -> Network:
    network = leadline.load(name, "cpu").network  # type: ignore[attr-defined]
    network.surgeries = list(getattr(network, "surgeries", []))
    return network
