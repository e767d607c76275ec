"""A step's part that comes from the teacher: what is imitated, how far it is trusted, and the adapters."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from leadline.data.batch import Batch
from leadline.errors import UserError
from leadline.models import Network, Task
from leadline.predict.predictor import VIEWS
from leadline.training.distill.distribution import resize
from leadline.training.distill.layers import Layer, Recording, pair_layers, probe
from leadline.training.distill.registry import Sees, Term, make_term
from leadline.training.distill.teachers import Lesson, NetworkTeacher, Teacher, combine, load_teacher
from leadline.training.losses import Outputs
from leadline.training.recipe import Distill, Imitation, Recipe

Size = tuple[int, int]
KINDS = {Task.MONO: "scale_invariant", Task.INTERPOLATION: "l1"}  # of `target`, where the recipe does not say


@dataclass
class Part:
    """One term of the sum."""

    name: str
    term: Term
    wanted: Imitation
    pairs: dict[str, str]  # student's layer -> teacher's


class Distillation(nn.Module):
    """Its parameters are those of the adapters; the teachers are no part of it, so they are neither trained nor kept.

    Args:
        config: the recipe's block.
        student: what is trained.
        crops: (h, w) that the run uses; layers are looked for with the first.
        teachers: as `load_teacher` gives them.

    Raises:
        UserError: a term, an option or a layer that there is not; a teacher that does not give what a term looks at.
    """

    def __init__(self, config: Distill, student: Network, crops: list[Size], teachers: list[Teacher]):
        super().__init__()
        self.config = config
        self.teachers = teachers
        self.task = student.task
        self.limit = float(getattr(student.config, "max_disparity", float("inf")))
        self._layers = _Layers(student, teachers[0], crops[0])
        self._crops = crops
        self.parts = [self._part(wanted, student) for wanted in config.losses]
        names = [part.name for part in self.parts]
        for name in names:
            if names.count(name) > 1:
                raise UserError(f"distill.losses names {name} more than once: leave all but one out")
        self.adapters = nn.ModuleDict()
        for part in self.parts:
            if part.term.adapted:
                for mine, its in part.pairs.items():
                    channels = self._layers.student[mine].channels, self._layers.teacher[its].channels
                    self.adapters[_key(mine)] = adapter(*channels)
        # What TensorBoard shows of the last batch.
        self.told: dict[str, Tensor] = {}
        self.last: tuple[Tensor, Tensor] | None = None

    def _part(self, wanted: Imitation, student: Network) -> Part:
        options = dict(wanted.options)
        if wanted.name == "target":
            options.setdefault("kind", KINDS.get(self.task, "smooth_l1"))
        found = make_term(wanted.name, **options)
        if found.sees is not Sees.LAYERS and wanted.layers is not None:
            raise UserError(f"distill {wanted.name} looks at no layers: leave 'layers' out")
        pairs: dict[str, str] = {}
        if found.sees is not Sees.PREDICTIONS:
            _check_fit(self.teachers, self._crops)
        if found.sees is Sees.SCORES:
            for what, gives in (("student", hasattr(student, "forward_scores")), *self._gives_scores()):
                if not gives:
                    raise UserError(
                        f"distill {wanted.name}: {what} gives no scores of disparity planes: take target in its place"
                    )
        if found.sees is Sees.LAYERS:
            pairs = self._layers.pair(wanted)
        return Part(wanted.name, found, wanted, pairs)

    def _gives_scores(self) -> list[tuple[str, bool]]:
        return [(f"teacher {teacher.name}", teacher.gives_scores) for teacher in self.teachers]

    def needs(self, sees: Sees) -> bool:
        return any(part.term.sees is sees for part in self.parts)

    @property
    def student_layers(self) -> list[Layer]:
        """The student's layers that are to be recorded in its pass."""
        names = dict.fromkeys(name for part in self.parts for name in part.pairs)
        return [self._layers.student[name] for name in names]

    @property
    def teacher_layers(self) -> list[Layer]:
        names = dict.fromkeys(name for part in self.parts for name in part.pairs.values())
        return [self._layers.teacher[name] for name in names]

    def forward(self, outputs: Outputs, layers: Recording, batch: Batch) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """The weighted sum of the terms, and each one's share (detached) as distill_NAME.

        Args:
            outputs: the student's.
            layers: what `student_layers` gave in the same pass.
            batch: what the student saw, with the truth where there is one.
        """
        lesson = self.teach(batch.images)
        trust = self.trust(lesson, batch)
        total = lesson.prediction.new_zeros(())
        shares: dict[str, Tensor] = {}
        with torch.autocast(trust.device.type, enabled=False):  # sums over many places need all the digits
            for part in self.parts:
                value = part.wanted.weight * self._value(part, outputs, layers, lesson, trust)
                shares[f"distill_{part.name}"] = value.detach()
                total = total + value
        self.last = lesson.prediction, trust
        self._tell(outputs.predictions[-1].detach(), lesson, trust, batch)
        return total, shares

    @torch.no_grad()
    def teach(self, images: tuple[Tensor, ...]) -> Lesson:
        """What the teachers say of the images."""
        scores = self.needs(Sees.SCORES)
        taught = [
            teacher(images, scores, self.teacher_layers if number == 0 else ())
            for number, teacher in enumerate(self.teachers)
        ]
        return combine(taught, self.config.combine, self.config.spread)

    @torch.no_grad()
    def trust(self, lesson: Lesson, batch: Batch) -> Float[Tensor, "b 1 h w"]:
        """How far the teacher is trusted, less what the student cannot give and where the truth says otherwise."""
        trust = lesson.trust * lesson.prediction.isfinite().all(1, keepdim=True)
        if self.task is Task.STEREO:
            trust = trust * (lesson.prediction < self.limit)
        if self.config.teacher_error is not None:
            error = distance(lesson.prediction, batch.truth)
            trust = trust * ~(batch.valid & (error > self.config.teacher_error))
        return trust

    def _value(self, part: Part, outputs: Outputs, layers: Recording, lesson: Lesson, trust: Tensor) -> Tensor:
        call = part.term.function
        if part.term.sees is Sees.SCORES:
            assert isinstance(outputs.scores, Tensor)
            return call(outputs.scores.float(), outputs.spacing, lesson.scores, trust)
        if part.term.sees is Sees.LAYERS:
            return torch.stack([self._layer(call, part, mine, layers, lesson) for mine in part.pairs]).mean()
        size = lesson.prediction.shape[-2:]
        predictions = [resize(prediction.float(), size) for prediction in outputs.predictions]
        if part.wanted.over == "last":
            return call(predictions[-1], lesson.prediction, trust)
        count = len(predictions)
        weighted = [
            part.wanted.gamma ** (count - 1 - i) * call(prediction, lesson.prediction, trust)
            for i, prediction in enumerate(predictions)
        ]
        return torch.stack(weighted).sum()

    def _layer(self, call: Callable[..., Tensor], part: Part, mine: str, layers: Recording, lesson: Lesson) -> Tensor:
        assert lesson.layers is not None
        student, teacher = layers[mine].float(), lesson.layers[part.pairs[mine]].float()
        if part.term.adapted:
            student = resize(self.adapters[_key(mine)](student), teacher.shape[-2:])
        return call(student, teacher)

    @torch.no_grad()
    def _tell(self, student: Tensor, lesson: Lesson, trust: Tensor, batch: Batch) -> None:
        """Errors of both on the batch, where they can be compared; no number where there is no truth."""
        student = resize(student.float(), lesson.prediction.shape[-2:])
        apart = distance(student, lesson.prediction)
        self.told = {"trusted": trust.mean(), "student_from_teacher": (apart * trust).sum() / trust.sum()}
        for name, prediction in (("teacher", lesson.prediction), ("student", student)):
            error = torch.where(batch.valid, distance(prediction, batch.truth), 0.0)
            self.told[f"{name}_epe"] = error.sum() / batch.valid.sum()

    def about(self) -> dict[str, Any]:
        """Who taught what, for the provenance."""
        return {
            "teachers": [teacher.about for teacher in self.teachers],
            "layers": {part.name: part.pairs for part in self.parts if part.pairs},
        }

    def get_extra_state(self) -> list[str]:
        return self._marks()

    def set_extra_state(self, state: list[str]) -> None:
        if state != self._marks():
            raise UserError(
                "the teacher is not the one that this run began with: bring it back, or choose another folder with -o"
            )

    def _marks(self) -> list[str]:
        """What tells a teacher from another."""
        return [str({key: value for key, value in t.about.items() if key != "name"}) for t in self.teachers]


class _Layers:
    """The layers of student and teacher, looked for when a term first asks for them."""

    def __init__(self, student: Network, teacher: Teacher, size: Size):
        self._network, self._teacher, self._size = student, teacher, size
        self.student: dict[str, Layer] = {}
        self.teacher: dict[str, Layer] = {}

    def pair(self, wanted: Imitation) -> dict[str, str]:
        if not isinstance(self._teacher, NetworkTeacher):
            raise UserError(
                f"distill {wanted.name} looks at layers, and teacher {self._teacher.name} is no network: "
                "take target in its place, or a network as the first teacher"
            )
        if not self.student:
            self.student = probe(self._network, self._pass)
            self.teacher = probe(self._teacher.network, self._pass)
        return pair_layers(wanted.layers, self.student, self.teacher, self._size)

    def _pass(self, network: Network) -> None:
        draw = torch.Generator().manual_seed(0)
        images = [torch.rand(2, 3, *network.padded_size(*self._size), generator=draw) for _ in VIEWS[network.task]]
        network.forward_all(*images)


def make_distillation(recipe: Recipe, student: Network) -> Distillation | None:
    """The distillation that a recipe asks for, if it does. Raises UserError as `Distillation` and `load_teacher`."""
    config = recipe.distill
    if config is None:
        return None
    names = [config.teacher] if isinstance(config.teacher, str) else config.teacher
    if not names:
        raise UserError("distill.teacher is empty: name a checkpoint, a model or an algorithm")
    teachers = [load_teacher(name, student, config.num_disparities, config.left_right) for name in names]
    if config.spread is not None and len(teachers) == 1:
        raise UserError("distill.spread is that of several teachers, and there is one: leave it out")
    crops = [phase.crop or recipe.crop for phase in recipe.phases] or [recipe.crop]
    return Distillation(config, student, crops, teachers)


def adapter(channels: int, wanted: int) -> nn.Conv2d:
    """A 1x1 convolution from the student's channels to the teacher's; the identity as far as it goes."""
    convolution = nn.Conv2d(channels, wanted, 1, bias=False)
    if channels == wanted:
        nn.init.dirac_(convolution.weight)
    return convolution


def distance(one: Float[Tensor, "b c h w"], two: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 1 h w"]:
    """Per pixel: of disparities and depths the absolute difference, of flow the end-point error."""
    return torch.linalg.vector_norm(one - two, dim=1, keepdim=True)


def _check_fit(teachers: list[Teacher], crops: list[Size]) -> None:
    """Scores and features of a padded image would lie elsewhere than the student's."""
    for teacher, size in itertools.product(teachers, crops):
        if isinstance(teacher, NetworkTeacher) and teacher.network.padded_size(*size) != size:
            fits = teacher.network.padded_size(*size)
            raise UserError(
                f"crop {size[0]}x{size[1]}: teacher {teacher.name} takes multiples of {teacher.network.size_multiple}, "
                f"and its features or scores are imitated: take {fits[0]}x{fits[1]}"
            )


def _key(layer: str) -> str:
    """A ModuleDict's keys hold no dots."""
    return layer.replace(".", "/")
