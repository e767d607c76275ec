"""manifest.json: what an exported model takes and gives, how it was made, and how far it was proven."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from leadline.errors import UserError
from leadline.files import write_whole
from leadline.models.network import OUTPUT, Task
from leadline.predict.predictor import TIME
from leadline.version import __version__

FORMAT = 1
NAME = "manifest.json"
VERIFIED, FAILED, NOT_RUN = "verified", "failed", "not run"


@dataclass(frozen=True)
class Manifest:
    """Everything that is known of an artifact besides its files' content."""

    target: str  # onnx, tensorflow, tflite, caffe, openvino, ncnn
    precision: str  # of the weights and of what is computed: float32, float16, bfloat16, int8
    task: Task
    network: dict[str, Any]  # name, config, surgeries, parameters
    inputs: list[str]  # names, in the order of the task's images: (1, 3, h, w) float32 RGB in [0, 1]; maybe a time
    size: tuple[int, int] | None  # (h, w) that the model takes; None: any that `size_multiple` and `min_size` allow
    size_multiple: int
    min_size: tuple[int, int]
    max_disparity: int | None  # px, of stereo
    made_with: dict[str, str]  # versions and settings of the converter
    files: dict[str, dict[str, Any]] = field(default_factory=dict)  # relative path -> {"bytes", "sha256"}
    verification: dict[str, Any] = field(default_factory=lambda: {"status": NOT_RUN})
    provenance: dict[str, Any] = field(default_factory=dict)  # of the weights, as the checkpoint has it
    floats: str = "float32"  # what the runtime computes in where it does not in integers; bfloat16 if the CPU can
    format: int = FORMAT
    leadline: str = __version__

    @property
    def verified(self) -> bool:
        return self.verification.get("status") == VERIFIED

    @property
    def bytes(self) -> int:
        """Of all files together."""
        return sum(entry["bytes"] for entry in self.files.values())

    def padded_size(self, height: int, width: int) -> tuple[int, int]:
        """The smallest size that the model takes and that holds an image of (height, width); as `Network`'s."""
        if self.size is not None:
            return self.size
        m = self.size_multiple
        height, width = max(height, self.min_size[0]), max(width, self.min_size[1])
        return -(-height // m) * m, -(-width // m) * m

    def to_dict(self) -> dict[str, Any]:
        """As it stands in the file: with what an engineer without leadline has to know spelled out."""
        size = list(self.size) if self.size else ["height", "width"]
        output, unit = OUTPUT[self.task]
        channels = {Task.FLOW: 2, Task.INTERPOLATION: 3}.get(self.task, 1)
        plain = dataclasses.asdict(self)
        return {
            **{key: plain[key] for key in ("format", "leadline", "target", "precision", "floats", "task", "network")},
            "inputs": [
                {"name": name, "shape": [1, 1, 1, 1], "type": "float32", "range": "0 (frame0) to 1 (frame1)"}
                if name == TIME
                else {"name": name, "shape": [1, 3, *size], "type": "float32", "layout": "NCHW", "colour": "RGB"}
                for name in self.inputs
            ],
            "normalisation": "divide 8-bit values by 255 (16-bit ones by 65535); everything else is inside the model",
            "output": {"name": output, "shape": [1, channels, *size], "type": "float32", "unit": unit},
            "size": plain["size"],
            "size_rule": {"multiple": self.size_multiple, "smallest": list(self.min_size)},
            **{key: plain[key] for key in ("max_disparity", "made_with", "files", "verification", "provenance")},
        }

    def write(self, folder: Path) -> None:
        """Writes manifest.json into `folder`, whole or not at all."""
        write_whole(folder / NAME, (json.dumps(self.to_dict(), indent=2) + "\n").encode())

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Reads and checks the manifest of `folder`; the files it names are checked by `check_files`.

        Raises:
            UserError: missing, broken, incomplete, or written by a newer leadline.
        """
        path = folder / NAME
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            newer = raw["format"] > FORMAT
        except FileNotFoundError as error:
            raise UserError(f"{folder}: no {NAME} in there: give a folder that `leadline export` made") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: not a readable manifest ({error}): export the model again") from error
        if newer:
            raise UserError(f"{path}: written by leadline {raw.get('leadline')}, newer than this one: upgrade leadline")
        try:
            return cls(
                task=Task(raw["task"]),
                inputs=[entry["name"] for entry in raw["inputs"]],
                size=tuple(raw["size"]) if raw["size"] else None,
                size_multiple=int(raw["size_rule"]["multiple"]),
                min_size=tuple(raw["size_rule"]["smallest"]),
                floats=raw.get("floats", "float32"),  # older artifacts do not say
                **{key: raw[key] for key in (
                    "target", "precision", "network", "max_disparity", "made_with", "files", "verification",
                    "provenance", "format", "leadline",
                )},
            )  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path}: the manifest lacks or garbles {error}: export the model again") from error

    def check_files(self, folder: Path) -> None:
        """Raises UserError where a file is missing, or is not the one that was exported."""
        for name, entry in self.files.items():
            path = folder / name
            if not path.is_file():
                raise UserError(f"{path}: named in the manifest but not there: copy the whole folder, or export again")
            if path.stat().st_size != entry["bytes"] or digest(path) != entry["sha256"]:
                raise UserError(
                    f"{path}: not the file that the manifest describes (truncated, swapped or changed): export it again"
                )


def describe_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Size and SHA-256 of every file below `folder` but the manifest."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / NAME)
    return {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": digest(path)} for path in files
    }


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
