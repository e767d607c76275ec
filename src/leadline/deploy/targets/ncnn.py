"""ncnn: model.param and model.bin, by pnnx from TorchScript, in a form without a batch."""

from __future__ import annotations

import re
import subprocess
import tempfile
from importlib.metadata import version
from pathlib import Path

import torch

from leadline.artifacts.runtimes import need
from leadline.deploy.fold import fold_batchnorm
from leadline.deploy.targets.calling import first_line, quiet
from leadline.deploy.targets.request import Made, Request
from leadline.deploy.unbatch import CannotUnbatch, Unbatched
from leadline.errors import UserError
from leadline.files import write_whole
from leadline.models.network import OUTPUT, Network
from leadline.nn.forms import few_operations
from leadline.predict.predictor import VIEWS

PARAM, BIN = "model.param", "model.bin"
_TRACED = "traced.pt"
_MINUTES = 20


def convert(network: Network, folder: Path, request: Request) -> Made:
    """Writes model.param, the structure as text, and model.bin, the weights in float32; of fixed size.

    The blobs have the names of the manifest: left, right, disparity.

    Raises:
        UserError: pnnx is missing or fails, or ncnn has no layer for something in the network.
    """
    pnnx = need("pnnx", "ncnn")
    if network.takes_time:
        raise UserError(f"{network.name}: ncnn takes images alone, and no time: export it to onnx or openvino")
    with tempfile.TemporaryDirectory() as place:
        _trace(network, request, Path(place) / _TRACED)
        _run_pnnx(network.name, pnnx.EXEC_PATH, request, len(VIEWS[network.task]), Path(place))
        structure = (Path(place) / "traced.ncnn.param").read_text()
        weights = (Path(place) / "traced.ncnn.bin").read_bytes()
    foreign = sorted({line.split()[0] for line in structure.splitlines()[2:] if re.match(r"\S*[.:]", line.split()[0])})
    if foreign:
        raise UserError(f"{network.name}: ncnn has no layer for {', '.join(foreign)}: export it to onnx or openvino")
    names = {f"in{i}": name for i, name in enumerate(VIEWS[network.task])} | {"out0": OUTPUT[network.task][0]}
    write_whole(folder / PARAM, _rename(structure, names).encode())
    write_whole(folder / BIN, weights)
    return Made({"converter": f"pnnx {version('pnnx')}, from TorchScript of torch {torch.__version__}"})


def _trace(network: Network, request: Request, path: Path) -> None:
    example = request.example(network)
    with quiet(), torch.no_grad(), few_operations():
        try:
            unbatched = Unbatched(fold_batchnorm(network, example))
            torch.jit.save(torch.jit.trace(unbatched, example, check_trace=False), str(path))
        except CannotUnbatch as error:
            raise UserError(
                f"{network.name}: not for ncnn, whose tensors have no batch: {first_line(error)}"
            ) from error
        except Exception as error:  # whatever torch.export or the tracer met
            raise UserError(f"{network.name}: it cannot be traced: {first_line(error)}") from error


def _run_pnnx(name: str, program: str, request: Request, images: int, place: Path) -> None:
    shape = ",".join(f"[1,3,{request.size[0]},{request.size[1]}]" for _ in range(images))
    # fp16=0: float16 in the file, pnnx's default, would not hold the tolerance of float32
    command = [program, _TRACED, f"inputshape={shape}", "fp16=0", "device=cpu"]
    done = subprocess.run(
        command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False,
        timeout=60 * _MINUTES,
    )  # fmt: skip
    refused = [line for line in done.stdout.splitlines() if "not supported" in line]
    if refused:
        raise UserError(f"{name}: not for ncnn: {refused[0].strip()}: export it to onnx or openvino")
    if done.returncode or not (place / "traced.ncnn.param").is_file():
        last = done.stdout.strip().splitlines()[-1:] or ["no output"]
        raise UserError(f"{name}: pnnx does not convert it (exit code {done.returncode}): {last[0].strip()}")


def _rename(structure: str, names: dict[str, str]) -> str:
    """The structure with other names for some blobs; a line is: type name inputs outputs blobs... parameters..."""
    lines = structure.splitlines()
    for i, line in enumerate(lines[2:], start=2):
        words = line.split()
        last = 4 + int(words[2]) + int(words[3])
        lines[i] = " ".join([*words[:4], *(names.get(word, word) for word in words[4:last]), *words[last:]])
    return "\n".join(lines) + "\n"
