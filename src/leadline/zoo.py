"""`leadline.load`: a Predictor by name or path, and what there is to load."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from leadline import models
from leadline.artifacts import is_artifact, load_artifact
from leadline.checkpoint import load_network, read_about
from leadline.classical import ClassicalStereo
from leadline.classical_flow import ClassicalFlow
from leadline.classical_frames import ClassicalInterpolation
from leadline.errors import UserError, unknown_name
from leadline.predict import Careful, NetworkPredictor, Predictor, Rescaled
from leadline.predict.middle_flow import MiddleFlow

CLASSICAL = (ClassicalStereo, ClassicalFlow, ClassicalInterpolation)
FLOW = ":flow"  # behind an interpolation network's name
CAREFUL = ":careful"  # behind a stereo model's
SCALE = re.compile(r"(.+):x(\d+(?:\.\d+)?)")  # the same: NAME:x1.5
WEIGHTS = Path(__file__).parent / "weights"  # NAME.safetensors; what is here is the zoo
MEASURED = "measured.json"  # beside the weights: {"about": {...}, "models": {name: {column: number}}}


def load(
    name_or_path: str | os.PathLike,
    device: str | torch.device | None = None,
    num_disparities: int | None = None,
    threads: int | None = None,
) -> Predictor:
    """The predictor that a name or a file stands for.

    Args:
        name_or_path: a model of the zoo, a checkpoint (.safetensors), the folder of an artifact, "sgbm",
            "sgbm-padded", "bm", "dis", "dis-fast", "dis-ultrafast", "farneback", "mean" or "dis-warp"; or one of
            an interpolation network with ":flow" behind it: the motion that it finds on its way, as a flow predictor.
            Behind what is for stereo, ":careful" stands for `leadline.predict.Careful`, ":x1.5" for `Rescaled` by 1.5.
        device: for networks; None: the GPU where there is one, else the CPU.
        num_disparities: px, for the classical algorithms: how far they search, a multiple of 16. None: 192.
        threads: for the runtime of an artifact; None: its own choice.

    Raises:
        UserError: unknown name, a network without weights, a file that is missing or no checkpoint, or an
            option that the model does not take.
    """
    name = os.fspath(name_or_path)
    if name.endswith(CAREFUL):
        return Careful(load(name.removesuffix(CAREFUL), device, num_disparities, threads))
    if (scaled := SCALE.fullmatch(name)) and not Path(name).exists():
        return Rescaled(load(scaled[1], device, num_disparities, threads), float(scaled[2]))
    if name in ClassicalStereo.NAMES:
        return ClassicalStereo(name, 192 if num_disparities is None else num_disparities)
    for classical in (ClassicalFlow, ClassicalInterpolation):
        if name in classical.NAMES:
            _no_range(name, num_disparities)
            return classical(name)
    if is_artifact(name):
        artifact = load_artifact(name)
        if device not in (None, "cpu"):
            raise UserError(f"{name}: exported models run on the CPU here: leave the device out")
        return artifact.predictor(threads)
    path = find_checkpoint(name.removesuffix(FLOW))
    _no_range(name, num_disparities)
    if name.endswith(FLOW):
        return MiddleFlow(load_network(path), device)
    return NetworkPredictor(load_network(path), device)


def _no_range(name: str, num_disparities: int | None) -> None:
    if num_disparities is not None:
        raise UserError(
            f"{name}: num_disparities is for {', '.join(ClassicalStereo.NAMES)}; a network's range is part of it"
        )


def find_checkpoint(name: str) -> Path:
    """The checkpoint file of a zoo name, or the path itself. Raises UserError as `load`."""
    shipped = WEIGHTS / f"{name}.safetensors"
    if "/" not in name and shipped.is_file():
        return shipped
    path = Path(name)
    if path.suffix in (".pth", ".pt", ".ckpt", ".tar", ".pkl"):
        raise UserError(
            f"{name}: not a leadline checkpoint (.safetensors): for weights of the original projects use "
            "leadline.import_upstream(name, path) and leadline.save; for a training run, its .safetensors files"
        )
    if name in models.names():
        raise UserError(
            f"{name}: no weights are shipped for this network: train it with `leadline train`, or bring another "
            f"project's official ones in with leadline.import_upstream({name!r}, path) and leadline.save"
        )
    if path.suffix == ".safetensors" or len(path.parts) > 1 or path.exists():
        return path  # reading it says what is wrong with it
    raise unknown_name("model", name, known_names())


def known_names() -> list[str]:
    """Every name that `load` takes, sorted."""
    shipped = {path.stem for path in WEIGHTS.glob("*.safetensors")}
    return sorted(shipped | {name for classical in CLASSICAL for name in classical.NAMES})


@dataclass(frozen=True)
class Entry:
    """A line of `leadline models`."""

    name: str
    kind: str  # "network" or "classical"
    task: str
    ready: bool  # False: the network is there, its weights have to be imported or trained
    parameters: int | None = None
    trained: str | None = None  # where the weights come from, as the checkpoint says
    measured: dict[str, Any] = field(default_factory=dict)  # column with its unit -> number


@dataclass(frozen=True)
class Zoo:
    """Everything that can be loaded or trained, and how the numbers beside it were measured."""

    entries: list[Entry]
    about: dict[str, Any]  # data, command and machine of the measurements


def zoo() -> Zoo:
    """The shipped models with their measured numbers, the classical algorithms, and the networks without weights."""
    table = _read_measured()
    measured = table.get("models", {})
    entries = []
    for path in sorted(WEIGHTS.glob("*.safetensors")):
        about = read_about(path)
        provenance = about["provenance"]
        entries.append(
            Entry(
                name=path.stem,
                kind="network",
                task=about["task"],
                ready=True,
                parameters=_count_parameters(about["network"], about["config"]),
                trained=provenance.get("data") if isinstance(provenance.get("data"), str) else None,
                measured=measured.get(path.stem, provenance.get("metrics", {})),
            )
        )
    for classical in CLASSICAL:
        for name in classical.NAMES:
            entries.append(Entry(name, "classical", classical.task.value, ready=True, measured=measured.get(name, {})))
    shipped = {entry.name for entry in entries}
    for name in models.names():
        if name not in shipped:
            task = models.create(name).task.value
            entries.append(Entry(name, "network", task, ready=False, parameters=_count_parameters(name, {})))
    return Zoo(entries, table.get("about", {}))


def _read_measured() -> dict[str, Any]:
    path = WEIGHTS / MEASURED
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _count_parameters(name: str, config: dict[str, Any]) -> int:
    return sum(parameter.numel() for parameter in models.create(name, **config).parameters())
