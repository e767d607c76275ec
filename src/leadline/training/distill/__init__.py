"""Distillation: a network learns from a teacher, beside or instead of the truth.

`recipe.py`'s `distill` block says from whom and what; `Distillation` is its part of a training step.
Importing this package registers everything that can be imitated.
"""

from leadline.training.distill import distribution, features, target
from leadline.training.distill.distillation import Distillation, make_distillation
from leadline.training.distill.registry import Sees, make_term, names

__all__ = [
    "Distillation",
    "Sees",
    "distribution",
    "features",
    "make_distillation",
    "make_term",
    "names",
    "target",
]
