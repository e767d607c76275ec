"""The parts that a network takes by name: kinds of convolution, of residual unit, of ways down and up, and so on."""

from leadline.nn.units.context import attention_units, context_units
from leadline.nn.units.convolution import conv_unit
from leadline.nn.units.filters import make_filter
from leadline.nn.units.parts import Parts
from leadline.nn.units.residual import residual_unit
from leadline.nn.units.scale import doubling
from leadline.nn.units.swap import swap_activations, swap_norms

__all__ = [
    "Parts",
    "attention_units",
    "context_units",
    "conv_unit",
    "doubling",
    "make_filter",
    "residual_unit",
    "swap_activations",
    "swap_norms",
]
