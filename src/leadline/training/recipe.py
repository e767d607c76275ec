"""The recipe of a training run: one YAML file, validated key by key.

Reading a recipe imports neither torch nor Lightning, so that mistakes in it are told at once.
"""

from __future__ import annotations

import os
import re
import types
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from leadline.errors import UserError, unknown_name


def parse_size(value: Any) -> Any:
    """ "160x320" -> (160, 320); a list of two is left to the validation."""
    if isinstance(value, str) and (match := re.fullmatch(r"\s*(\d+)\s*[x×]\s*(\d+)\s*", value)):
        return int(match[1]), int(match[2])
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise PydanticCustomError("size", "a size is HEIGHTxWIDTH, for example 160x320")
    return value


def as_text(value: Any) -> Any:
    """YAML reads 16 as a number."""
    return str(value) if isinstance(value, int) else value


def no_bool(value: Any) -> Any:
    """True would count as 1."""
    if isinstance(value, bool):
        raise PydanticCustomError("number", "input should be a number")
    return value


Positive = Annotated[int, Field(gt=0), BeforeValidator(no_bool)]
Size = Annotated[tuple[Positive, Positive], BeforeValidator(parse_size)]
Fraction = Annotated[float, Field(ge=0, le=1), BeforeValidator(no_bool)]
NonNegative = Annotated[float, Field(ge=0), BeforeValidator(no_bool)]


class Part(BaseModel):
    """A block of the recipe whose keys are all known."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Named(BaseModel):
    """A block that is a name and the options of what it names; those are checked where it is built."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)
    name: str

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class Loss(Named):
    """One term of the loss. `over` and `gamma` say how it is spread over the coarse-to-fine predictions."""

    weight: NonNegative = 1.0
    over: Literal["last", "all"] = "all"
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.8  # prediction i of n weighs gamma^(n - i)
    scale_weights: list[NonNegative] | None = None  # instead of gamma: one weight per prediction, coarse to fine


class Schedule(Named):
    """The learning rate over the steps: its shape, after `warmup` steps that rise linearly to it."""

    name: str = "one_cycle"
    warmup: Annotated[int, Field(ge=0)] = 0  # steps


class Source(Part):
    """Where scenes come from: "procedural", or a data set as FORMAT:PATH."""

    source: str
    weight: Annotated[float, Field(gt=0)] = 1.0  # share of the samples, relative to the other sources
    scenes: dict[str, Any] = {}  # fields of SceneConfig (of monocular depth: RoomConfig), for procedural scenes
    teacher: str | None = None  # a stereo model whose disparity gives monocular networks the depth of these pairs


class Augment(Part):
    """Random changes of the training pairs; each range is (low, high) or a largest amount. Zero switches one off."""

    brightness: NonNegative = 0.0  # both views: added, up to +-
    contrast: NonNegative = 0.0  # both views: factor 1 +- this
    saturation: NonNegative = 0.0  # both views: factor 1 +- this
    gamma: NonNegative = 0.0  # both views: exponent up to exp(+- this)
    asymmetric: Fraction = 0.0  # the right view's own change, as a share of the four amounts above
    sharpen: NonNegative = 0.0  # all images: finest detail up to 1 + this times as strong
    noise: NonNegative = 0.0  # largest standard deviation of Gaussian noise, drawn per pair
    occluders: Fraction = 0.0  # probability of rectangles of mean colour on the right view (HSMNet, 2019)
    scale: tuple[float, float] = (1.0, 1.0)  # zoom of the pair; the disparity is multiplied by it
    stretch: NonNegative = 0.0  # extra horizontal zoom, up to exp(+- this)
    vertical_jitter: NonNegative = 0.0  # px by which the right view is moved up or down, up to +-
    flip: Fraction = 0.0  # probability of turning the pair upside down; of flow and frames also of mirroring it
    rotate: Fraction = 0.0  # interpolation: probability of quarter turns (half turns where the crop is not square)
    reverse_time: Fraction = 0.0  # interpolation: probability of running backwards
    reverse_channels: Fraction = 0.0  # interpolation: probability of exchanging red and blue


class Phase(Part):
    """A stretch of the run with its own sizes; what is left out is taken from the recipe."""

    steps: Positive
    crop: Size | None = None
    render_size: Size | None = None
    batch: Positive | None = None


class Imitation(Named):
    """One thing of the teacher that the student imitates."""

    weight: NonNegative = 1.0
    over: Literal["last", "all"] = "last"  # `target`: the student's final prediction alone, or all, with gamma
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.8
    layers: Literal["auto"] | dict[str, str] | None = None  # {student's layer: teacher's}, for what looks at layers


class Distill(Part):
    """A teacher whose predictions or features the network learns beside the losses on the truth."""

    teacher: str | list[str]  # what `leadline.load` takes; several are an ensemble
    combine: Literal["mean", "median"] = "mean"  # of an ensemble's predictions
    losses: list[Imitation] = Field(default=[Imitation(name="target")], min_length=1)
    teacher_error: Annotated[float, Field(gt=0), BeforeValidator(no_bool)] | None = None  # not imitated beyond it
    spread: Annotated[float, Field(gt=0), BeforeValidator(no_bool)] | None = None  # weight exp(-deviation / spread)
    left_right: NonNegative | None = None  # px, largest left-right difference that is imitated; 0: not looked at
    num_disparities: Positive | None = None  # px, of a classical teacher; default: the network's range


class Validate(Part):
    """Measuring the averaged weights while training goes on."""

    every: Positive = 1000  # steps
    data: str = "procedural:16,seed=1000003,size=256x512"
    limit: Positive | None = None  # samples


class Checkpoint(Part):
    """When the run is written down, so that it can go on after an interruption."""

    every: Positive = 500  # steps


class Log(Part):
    """What TensorBoard gets, and how often (steps); 0 switches pictures or histograms off."""

    every: Positive = 20
    images_every: Annotated[int, Field(ge=0)] = 500
    histograms_every: Annotated[int, Field(ge=0)] = 0


class Sparsify(Part):
    """Masks of a pruned network that grow while it is trained, fast first, then slowly (cubic)."""

    amount: Annotated[
        float, Field(gt=0, lt=1), BeforeValidator(no_bool)
    ]  # share of the masked layers' weights, at last
    until: Annotated[float, Field(gt=0, le=1), BeforeValidator(no_bool)] = 0.7  # share of the steps in which they grow
    every: Positive = 10  # steps
    criterion: Literal["l1", "l2", "lamp"] = "lamp"
    scope: Literal["global", "layer"] = "global"


class Adversarial(Part):
    """A discriminator that learns beside the network to tell its predictions from the truth."""

    weight: Annotated[float, Field(gt=0), BeforeValidator(no_bool)] = 0.05  # of its term in the network's loss
    balance: bool = True  # weight is relative to the other losses' gradient at the prediction, else absolute
    loss: Literal["non_saturating", "least_squares", "hinge", "wasserstein"] = "hinge"
    start: Annotated[int, Field(ge=0)] = 0  # step from which on it takes part
    warmup: Annotated[int, Field(ge=0)] = 0  # steps over which the weight rises
    every: Positive = 1  # the discriminator learns in every n-th step
    rest: Annotated[float, Field(gt=0.5, lt=1)] | None = None  # it does not learn while it is right more often
    condition: bool = True  # it sees the network's images too
    penalty: NonNegative = 0.0  # of its gradient; 10 belongs to wasserstein
    lr: Annotated[float, Field(gt=0), BeforeValidator(no_bool)] = 2e-4
    width: Positive = 64  # channels of its first layer
    halvings: Annotated[int, Field(ge=1, le=5)] = 3  # with 3 it judges patches of 70 px, with 2 of 34 px
    spectral: bool = True  # spectral normalisation


class Recipe(Part):
    """Everything that decides the weights that a run ends with, and how the run is carried out."""

    name: str = Field(pattern=r"^\w[\w.-]*$")
    network: Named
    init: str | None = None  # checkpoint whose weights the run starts from: a file, or the name of a shipped one
    freeze: list[str] = []  # modules, or parameters, of the network, by name with * and ?, that stay as they are
    data: list[Source] = Field(default=[Source(source="procedural")], min_length=1)
    render_size: Size | None = None  # of the scenes before cropping; default: the crop
    crop: Size
    batch: Positive
    reuse: Positive = 1  # how often each scene is used, each time with another crop and augmentation
    steps: Positive | None = None  # of the optimizer; default: the sum over the phases
    phases: list[Phase] = []
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    augment: Augment = Augment()
    losses: list[Loss] = [Loss(name="smooth_l1")]
    distill: Distill | None = None
    slimming: NonNegative = 0.0  # weight of the sum of BatchNorm's |scales|: channels become dispensable
    sparsify: Sparsify | None = None
    adversarial: Adversarial | None = None
    optimizer: Named = Named(name="adamw")
    schedule: Schedule = Schedule()
    precision: Annotated[Literal["32", "bf16", "16"], BeforeValidator(as_text)] = "32"
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.999  # decay of the averaged weights; 0: none
    clip: NonNegative = 1.0  # largest norm of the gradient; 0: no clipping
    accumulate: Positive = 1  # batches per optimizer step
    devices: Positive | Literal["auto"] = "auto"
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    sync_batchnorm: bool = False
    deterministic: bool = False  # deterministic kernels on a GPU, slower; a CPU's are
    threads: Annotated[int, Field(gt=0, le=256)] | None = None  # of torch on a CPU
    workers: Annotated[int, Field(ge=0, le=256)] = 2  # processes that render and load
    validate_: Validate | None = Field(default=None, alias="validate")
    checkpoint: Checkpoint = Checkpoint()
    log: Log = Log()

    @property
    def total_steps(self) -> int:
        return self.steps if self.steps is not None else sum(phase.steps for phase in self.phases)


# These change how a run is carried out or watched, not the weights that it ends with.
FREE_KEYS = {"name", "threads", "workers", "validate", "checkpoint", "log"}


class _Loader(yaml.SafeLoader):
    """YAML 1.1 reads 1e-3 as text; people mean the number."""


_Loader.yaml_implicit_resolvers = {key: list(value) for key, value in yaml.SafeLoader.yaml_implicit_resolvers.items()}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def load_recipe(path: str | os.PathLike, changes: Iterable[str] = ()) -> Recipe:
    """Reads and validates a recipe.

    Args:
        path: a YAML file.
        changes: "key=value" each, dotted for inner keys ("optimizer.lr=1e-3", "losses.0.weight=2").

    Raises:
        UserError: missing file, broken YAML, unknown key (with a suggestion), or a value out of its range.
    """
    path = Path(path)
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise UserError(f"{path}: cannot read the recipe ({reason})") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}:" if mark else ""
        raise UserError(f"{path}:{line} not valid YAML: {getattr(error, 'problem', error)}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: a recipe is a YAML mapping of keys to values")
    for change in changes:
        set_key(content, change)
    return check_recipe(content, str(path))


def check_recipe(content: dict[str, Any], where: str = "recipe") -> Recipe:
    """Validates a recipe given as plain values; `where` begins the message of an error."""
    try:
        recipe = Recipe.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{where}: {_explain(error)}") from error
    _check_together(recipe, where)
    return recipe


def dump_recipe(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain JSON-able values, defaults included."""
    return recipe.model_dump(mode="json", by_alias=True)


def difference(old: dict[str, Any], new: dict[str, Any]) -> str | None:
    """The first key of two dumped recipes whose change would change the weights, as "key: old -> new"."""
    before, after = (_flat({k: v for k, v in content.items() if k not in FREE_KEYS}) for content in (old, new))
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) != after.get(key):
            return f"{key}: {before.get(key, 'nothing')} -> {after.get(key, 'nothing')}"
    return None


def _flat(value: Any, place: str = "") -> dict[str, Any]:
    """Nested values by their dotted place."""
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    else:
        return {place: value}
    return {k: v for name, inner in items for k, v in _flat(inner, f"{place}.{name}" if place else str(name)).items()}


def _check_together(recipe: Recipe, where: str) -> None:
    if not recipe.phases and recipe.steps is None:
        raise UserError(f"{where}: 'steps' is missing: say how many optimizer steps the run takes")
    if not recipe.losses and recipe.distill is None:
        raise UserError(f"{where}: losses is empty: name at least one, or a teacher to 'distill'")
    planned = sum(phase.steps for phase in recipe.phases)
    if recipe.phases and recipe.steps is not None and recipe.steps != planned:
        raise UserError(f"{where}: the phases take {planned} steps, 'steps' says {recipe.steps}: leave 'steps' out")
    for phase in recipe.phases or [Phase(steps=1)]:
        crop = phase.crop or recipe.crop
        size = phase.render_size or (recipe.render_size if phase.crop is None else None) or crop
        if size[0] < crop[0] or size[1] < crop[1]:
            raise UserError(f"{where}: render_size {size[0]}x{size[1]} is smaller than the crop {crop[0]}x{crop[1]}")
    low, high = recipe.augment.scale
    if not 0 < low <= high:
        raise UserError(f"{where}: augment.scale is (low, high) with 0 < low <= high, got ({low}, {high})")
    if recipe.schedule.name == "plateau" and recipe.validate_ is None:
        raise UserError(f"{where}: schedule 'plateau' follows the validation: add a 'validate' block")


def set_key(content: dict[str, Any], change: str) -> None:
    """Changes a recipe that is not checked yet: "key=value", dotted for inner keys. Raises UserError."""
    key, equals, text = change.partition("=")
    if not equals or not key:
        raise UserError(f"--set {change}: write it as KEY=VALUE, for example optimizer.lr=1e-3")
    value = yaml.load(text, _Loader)
    place: Any = content
    *outer, last = key.split(".")
    try:
        for name in outer:
            if name.isdigit() and isinstance(place, dict):
                raise KeyError(name)  # a list that the recipe leaves at its default has no parts to change
            place = place[int(name)] if isinstance(place, list) else place.setdefault(name, {})
        place[int(last) if isinstance(place, list) else last] = value
    except (KeyError, ValueError, IndexError, TypeError, AttributeError) as error:
        raise UserError(f"--set {change}: the recipe has no place {key!r}") from error


def _explain(error: ValidationError) -> str:
    """The first thing that is wrong, in one line."""
    first = error.errors()[0]
    names = _place(first["loc"])
    where = ".".join(str(part) for part in names)
    if first["type"] == "extra_forbidden":
        return str(unknown_name("key", where, _known_keys(names)))
    if first["type"] == "missing":
        return f"'{where}' is missing"
    if first["type"] == "tuple_type":
        first["msg"] = "a list of two numbers is wanted: [low, high]"
    return f"{where}: {first['msg'][0].lower()}{first['msg'][1:]}, got {first['input']!r}"


def _place(location: tuple[str | int, ...]) -> list[str | int]:
    """The keys and numbers of a place in the recipe, without the kinds that pydantic tells of where several fit."""
    model: Any = Recipe
    place: list[str | int] = []
    for part in location:
        place.append(part)
        if isinstance(part, str):
            fields = {field.alias or name: field for name, field in model.model_fields.items()}
            model = _model_in(fields[part].annotation) if part in fields else None
            if model is None:  # a value; what may follow is the place in a list
                rest = location[len(place) :]
                return place + [index for index in rest if isinstance(index, int)]
    return place


def _known_keys(location: list[Any]) -> list[str]:
    """The keys allowed at the place of an unknown one, with the same dotted prefix."""
    model: Any = Recipe
    for part in location[:-1]:
        if isinstance(part, str):
            fields = {field.alias or name: field for name, field in model.model_fields.items()}
            model = _model_in(fields[part].annotation)
    prefix = "".join(f"{part}." for part in location[:-1])
    return [prefix + (field.alias or name) for name, field in model.model_fields.items()]


def _model_in(annotation: Any) -> Any:
    """The block inside X, X | None or list[X]."""
    if typing.get_origin(annotation) in (list, typing.Union, types.UnionType):
        return next((found for arg in typing.get_args(annotation) if (found := _model_in(arg)) is not None), None)
    is_model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return annotation if is_model else None
