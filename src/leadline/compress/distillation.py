"""Training a network with a teacher: the recipe that a call stands for, and its run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from leadline import checkpoint
from leadline.errors import UserError, unknown_name
from leadline.models import Network, Task, create, names
from leadline.training.fit import train
from leadline.training.recipe import Recipe, check_recipe, load_recipe, set_key
from leadline.zoo import find_checkpoint

Model = Network | str | os.PathLike
ON = {"target": "target", "feature": "hint"}  # what `on` calls things, beside their names in a recipe
STEPS = 20_000
AUGMENT = {"brightness": 0.1, "contrast": 0.15, "saturation": 0.2, "asymmetric": 0.3}


def distill(
    teacher: Model | Sequence[Model],
    student: Model,
    on: str | Iterable[str] = ("target",),
    data: str | Sequence[str] | None = None,
    recipe: str | os.PathLike | Recipe | None = None,
    steps: int | None = None,
    init: str | os.PathLike | None = None,
    folder: str | os.PathLike | None = None,
    changes: Iterable[str] = (),
    stop_after: int | None = None,
) -> Network:
    """Trains `student` with `teacher` beside the truth, or without any.

    The same call goes on with a run that was interrupted, and ends with the same weights.

    Args:
        teacher: a Network, or what `leadline.load` takes: checkpoint, shipped model, exported model, "sgbm-padded".
            Several are an ensemble.
        student: a Network or a checkpoint, to train on from its weights, compressed or not; or the name of a network,
            to train from the seed or from `init`.
        on: what is imitated, each as NAME or NAME:WEIGHT: "target", "distribution", "feature" (hints), "attention",
            "similarity", "relational", "volume".
        data: FORMAT:PATH of pairs, with or without truth; None: those of the recipe, else procedural scenes.
        recipe: of the training; its network, init and distill are replaced where the call says otherwise. None: a
            default for the student.
        steps: of the optimizer; None: the recipe's, else STEPS.
        init: checkpoint that a student given by name starts from.
        folder: of the run; default runs/NAME.
        changes: "key=value" each, as `leadline train --set`.
        stop_after: steps of this sitting; the run can be taken up again.

    Returns:
        The trained network (its averaged weights), in eval mode, whose provenance names the teacher.

    Raises:
        UserError: a model or a recipe that is not right, a teacher of another task, something that the teacher does
            not have, or what `leadline.train` raises.
    """
    content = _kept_networks(teacher, student, folder)
    checked = make_recipe(content["teacher"], content["student"], on, data, recipe, steps, init, changes)
    return checkpoint.load_network(train(checked, folder, stop_after=stop_after))


def make_recipe(
    teacher: str | list[str],
    student: str,
    on: str | Iterable[str] = ("target",),
    data: str | Sequence[str] | None = None,
    recipe: str | os.PathLike | Recipe | None = None,
    steps: int | None = None,
    init: str | os.PathLike | None = None,
    changes: Iterable[str] = (),
) -> Recipe:
    """The recipe that a call of `distill` stands for; arguments as there, models by name or path."""
    network, start = _student(student, init)
    content = _default(network, from_weights=start is not None) if recipe is None else _content(recipe)
    of_recipe = content.get("network") or {}
    if student not in names() or of_recipe.get("name") != student:  # else the recipe's options stay
        content["network"] = network
    if start is not None:
        content["init"] = start
    terms = [_term(text) for text in ([on] if isinstance(on, str) else on)]
    block = content.get("distill") or {}
    kept = {term["name"]: term for term in block.get("losses", [])}  # options that the recipe has for a term
    content["distill"] = {**block, "teacher": teacher, "losses": [{**kept.get(t["name"], {}), **t} for t in terms]}
    if data is not None:
        content["data"] = [{"source": source} for source in ([data] if isinstance(data, str) else data)]
    if steps is not None:
        content["steps"] = steps
        content["phases"] = []
    for change in changes:
        set_key(content, change)
    return check_recipe(content, "distill" if recipe is None or isinstance(recipe, Recipe) else str(recipe))


def _student(student: str, init: str | os.PathLike | None) -> tuple[dict[str, Any], str | None]:
    """The student's network block, and the checkpoint that it starts from."""
    if student in names():
        return {"name": student}, None if init is None else os.fspath(init)
    path = find_checkpoint(student)
    if init is not None:
        raise UserError(f"student {student} is a checkpoint itself: leave --init out, or name a network as the student")
    about = checkpoint.read_about(path)
    return {"name": about["network"], **about["config"]}, student


def _content(recipe: str | os.PathLike | Recipe) -> dict[str, Any]:
    checked = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    return checked.model_dump(mode="json", by_alias=True, exclude_unset=True)


def _default(network: dict[str, Any], from_weights: bool) -> dict[str, Any]:
    """A recipe for a student that has none: like those that trained the shipped networks, one cycle long."""
    made = create(network["name"], **{key: value for key, value in network.items() if key != "name"})
    losses: list[dict[str, Any]] = [{"name": "smooth_l1", "weight": 0.5}]
    if hasattr(made, "forward_scores"):
        losses.append({"name": "disparity_cross_entropy", "weight": 1.0, "diversity": 0.5})
    stereo = made.task is Task.STEREO
    scenes = {"max_disparity": min(192, getattr(made.config, "max_disparity", 192)) - 4} if stereo else {}
    return {
        "name": f"{network['name']}-distilled",
        "network": network,
        "data": [{"source": "procedural", "scenes": scenes}],
        "render_size": list(made.padded_size(224, 448)),
        "crop": list(made.padded_size(160, 320)),
        "batch": 8,
        "reuse": 3,
        "steps": STEPS,
        "augment": AUGMENT if stereo else {},
        "losses": losses,
        "optimizer": {"name": "adamw", "lr": 3e-4 if from_weights else 1e-3, "weight_decay": 1e-4},
        "schedule": {"name": "one_cycle"},
    }


def _term(text: str) -> dict[str, Any]:
    """ "feature:0.5" -> {"name": "hint", "weight": 0.5}"""
    from leadline.training.distill import names as known

    name, _, weight = text.strip().partition(":")
    if name not in ON and name not in known():
        raise unknown_name("thing to imitate", name, sorted({*ON, *known()}))
    term: dict[str, Any] = {"name": ON.get(name, name)}
    if weight:
        try:
            term["weight"] = float(weight)
        except ValueError:
            raise UserError(f"--on {text}: write it as NAME or NAME:WEIGHT, such as feature:0.5") from None
    return term


def _kept_networks(
    teacher: Model | Sequence[Model], student: Model, folder: str | os.PathLike | None
) -> dict[str, Any]:
    """Names and paths for the models; a Network is written to the run's folder, where a later call finds it."""

    def place(model: Model, name: str) -> str:
        if not isinstance(model, Network):
            return os.fspath(model)
        if folder is None:
            raise UserError("give distill a folder: a network that is no file yet is kept in it, for the run to go on")
        return str(checkpoint.save(model, Path(folder) / f"{name}.safetensors"))

    single = isinstance(teacher, Network | str | os.PathLike)
    several = [teacher] if single else list(teacher)  # type: ignore[arg-type]
    places = [place(model, f"teacher{number or ''}") for number, model in enumerate(several)]
    return {"teacher": places[0] if single else places, "student": place(student, "student")}


def write_recipe(recipe: Recipe) -> str:
    """The recipe as YAML, without what is left at its default."""
    return yaml.safe_dump(recipe.model_dump(mode="json", by_alias=True, exclude_defaults=True), sort_keys=False)
