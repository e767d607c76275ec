"""Learning-rate schedules by name: each gives the factor on the optimizer's lr as a function of the step alone.

As nothing is remembered between steps, a run that is resumed follows the same curve as one that was not. `plateau` is
the exception: it follows the validation, and its state is kept in the checkpoint.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import Field
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from leadline.errors import UserError, unknown_name
from leadline.training.options import check_against_defaults, check_options

Factor = Callable[[int], float]
Steps = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
NonNegative = Annotated[float, Field(ge=0)]


def constant(total: int) -> Factor:
    """1 throughout."""
    return lambda step: 1.0


def step(total: int, every: Steps, gamma: NonNegative = 0.1) -> Factor:
    """gamma^⌊step / every⌋."""
    return lambda at: gamma ** (at // every)


def multistep(total: int, milestones: list[Steps], gamma: NonNegative = 0.1) -> Factor:
    """gamma^(number of milestones reached)."""
    return lambda at: gamma ** sum(at >= milestone for milestone in milestones)


def cosine(total: int, final: Share = 0.0) -> Factor:
    """Half a cosine from 1 to `final`: I. Loshchilov, F. Hutter, "SGDR", ICLR 2017, without restarts."""
    return lambda at: final + (1 - final) * (1 + math.cos(math.pi * min(at / total, 1))) / 2


def poly(total: int, power: NonNegative = 0.9, final: Share = 0.0) -> Factor:
    """(1 - step / total)^power, down to `final`: W. Liu et al., "ParseNet", 2015."""
    return lambda at: final + (1 - final) * (1 - min(at / total, 1)) ** power


def one_cycle(
    total: int,
    rise: Share = 0.05,
    start: Share = 0.04,
    final: Share = 1e-4,
    anneal: Literal["linear", "cosine"] = "linear",
) -> Factor:
    """From `start` up to 1 in the share `rise` of the steps, then down to `final`.

    L. Smith, N. Topin, "Super-Convergence", 2018, as torch.optim.lr_scheduler.OneCycleLR; linear both ways is RAFT's.
    """
    top = max(rise * total - 1, 0.0)
    end = max(total - 1, 1)

    def between(begin: float, last: float, part: float) -> float:
        return begin + (last - begin) * (part if anneal == "linear" else (1 - math.cos(math.pi * part)) / 2)

    def factor(at: int) -> float:
        if at < top:
            return between(start, 1.0, at / top)
        return between(1.0, final, min((at - top) / max(end - top, 1e-9), 1.0))

    return factor


SHAPES: dict[str, Callable[..., Factor]] = {
    "constant": constant,
    "step": step,
    "multistep": multistep,
    "cosine": cosine,
    "poly": poly,
    "one_cycle": one_cycle,
}
NAMES = sorted([*SHAPES, "plateau"])


def make_factor(name: str, total: int, warmup: int = 0, **options: Any) -> Factor:
    """The factor on the learning rate for each step 0 ... total - 1.

    Args:
        name: one of `SHAPES`.
        total: optimizer steps of the run.
        warmup: steps during which the factor is also multiplied by (step + 1) / warmup.
        options: of the shape.

    Raises:
        UserError: unknown name or option, or a missing one.
    """
    if name not in SHAPES:
        raise unknown_name("schedule", name, NAMES)
    shape = SHAPES[name](total, **check_options(f"schedule {name}", SHAPES[name], options, skip=1))
    if warmup == 0:
        return shape
    return lambda at: shape(at) * min((at + 1) / warmup, 1.0)


def make_schedule(optimizer: Optimizer, name: str, total: int, warmup: int = 0, **options: Any) -> LambdaLR:
    """The schedule as a torch scheduler, to be stepped after each optimizer step. Raises as `make_factor`."""
    return LambdaLR(optimizer, make_factor(name, total, warmup, **options))


def make_plateau(optimizer: Optimizer, **options: Any) -> ReduceLROnPlateau:
    """torch's ReduceLROnPlateau, to be stepped with each validation's error; options are torch's.

    Raises:
        UserError: unknown option or a value that torch refuses.
    """
    known = [parameter for parameter in inspect.signature(ReduceLROnPlateau).parameters if parameter != "optimizer"]
    for option in options:
        if option not in known:
            raise unknown_name("option of schedule plateau", option, known)
    options = check_against_defaults("schedule plateau", ReduceLROnPlateau, options)
    try:
        return ReduceLROnPlateau(optimizer, **options)
    except (ValueError, TypeError) as error:
        raise UserError(f"schedule plateau: {error}") from error
