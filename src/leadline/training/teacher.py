"""A stereo model as the teacher of a monocular one: its disparity on pairs whose depth nobody measured.

A recipe's source of stereo pairs with `teacher: MODEL` is predicted once, before the run, into the run's folder: the
left image, and depth = focal · baseline / (disparity + doffs) where the left-right check passes. The files lie there in
the layout `folder`, to be looked at, and a run that goes on does not predict again.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np

from leadline.data import open_data
from leadline.data.datasets.stereo_as_mono import pinhole
from leadline.data.formats.arrays import write_array
from leadline.data.formats.images import write_image
from leadline.data.sample import Sample
from leadline.errors import UserError
from leadline.files import writable_folder, write_whole
from leadline.geometry.depth import disparity_to_depth
from leadline.models.network import Task
from leadline.predict import Predictor, predict_checked
from leadline.training.recipe import Recipe
from leadline.training.recipe import Source as RecipeSource

FEWEST = 0.01  # share of an image's pixels that must pass the check for it to teach anything


def with_teachers(recipe: Recipe, folder: Path, task: Task) -> Recipe:
    """The recipe with every taught source replaced by what its teacher said.

    Raises:
        UserError: a teacher for another task, a teacher that is no stereo model, or pairs without a calibrated camera.
    """
    if not any(source.teacher for source in recipe.data):
        return recipe
    if task is not Task.MONO:
        raise UserError(f"data: a teacher is for monocular depth, and {recipe.network.name} is for {task.value}")
    sources = [
        _taught(source, folder / "teacher" / str(index)) if source.teacher else source
        for index, source in enumerate(recipe.data)
    ]
    return recipe.model_copy(update={"data": sources})


def _taught(source: RecipeSource, place: Path) -> RecipeSource:
    if not place.is_dir():
        from leadline.zoo import load

        assert source.teacher is not None
        teach(load(source.teacher), source.source, place)
    return source.model_copy(update={"source": f"folder:{place}", "teacher": None})


def teach(teacher: Predictor, pairs: str, place: str | os.PathLike, threshold: float = 1.0) -> Path:
    """Writes pseudo-labels for stereo pairs, whole or not at all.

    Args:
        teacher: a stereo predictor.
        pairs: FORMAT:PATH, or procedural:...; each pair with a calibrated camera.
        place: the folder to write; one folder per pair in it.
        threshold: px, the largest left-right difference that passes.

    Raises:
        UserError: not a stereo predictor, or no pair that could be taught.
    """
    if teacher.task is not Task.STEREO:
        raise UserError(
            f"teacher {teacher.name} is for {teacher.task.value}: a stereo model is wanted, such as plummet-s"
        )
    place = Path(place)
    making = writable_folder(place.parent / f".{place.name}.making.{os.getpid()}")
    try:
        data = open_data(pairs, Task.STEREO)
        written = sum(_teach_one(teacher, sample, making, threshold) for sample in data)
        if not written:
            raise UserError(
                f"{pairs}: the teacher {teacher.name} gave no consistent depth for any pair: choose another"
            )
        if not place.exists():
            making.rename(place)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return place


def _teach_one(teacher: Predictor, sample: Sample, place: Path, threshold: float) -> bool:
    if sample.camera is None:
        raise UserError(
            f"{sample.name}: has no calibrated camera, and a disparity is no depth without one: add calib.txt"
        )
    left, right = sample.images
    checked = predict_checked(teacher, left, right, "mask", threshold)
    depth, known = disparity_to_depth(checked.disparity, sample.camera, checked.valid & (checked.disparity > 0))
    if known.mean() < FEWEST:
        return False
    folder = place / sample.name
    write_image(folder / "image.png", left)
    write_array(folder / "depth.npz", depth=np.where(known, depth, np.nan).astype(np.float32))
    about = {
        "calib": pinhole(sample.camera, sample.size).to_dict(),
        "teacher": teacher.name,
        "density": float(known.mean()),
    }
    write_whole(folder / "meta.json", (json.dumps(about, indent=2) + "\n").encode())
    return True
