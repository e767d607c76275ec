"""ncnn models, on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from leadline.artifacts.manifest import Manifest
from leadline.artifacts.runtimes import Session, need, single_file
from leadline.errors import UserError
from leadline.models.network import OUTPUT


def open_session(folder: Path, manifest: Manifest, threads: int | None = None) -> Session:
    """The model of an ncnn artifact; raises UserError where ncnn is missing or refuses it."""
    ncnn = need("ncnn", "ncnn")
    structure, weights = (single_file(folder, manifest, suffix) for suffix in (".param", ".bin"))
    net = ncnn.Net()
    if threads:
        net.opt.num_threads = threads
    for option in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic"):
        setattr(net.opt, option, False)  # float32 stays float32
    if net.load_param(str(structure)) or net.load_model(str(weights)):
        raise UserError(f"{structure}: ncnn {ncnn.__version__} does not load it: export it again with this version")
    output = OUTPUT[manifest.task][0]

    def run(*images: np.ndarray) -> np.ndarray:
        extractor = net.create_extractor()
        for name, image in zip(manifest.inputs, images, strict=True):
            extractor.input(name, ncnn.Mat(image[0]).clone())
        status, found = extractor.extract(output)
        if status:
            raise UserError(f"{structure}: ncnn fails with status {status}, for lack of memory most likely")
        return np.array(found)[None]

    return run
