"""Several ways to write the same thing: as runtimes are fast, with few operations, or so that bfloat16 will do."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

_few_operations: ContextVar[bool] = ContextVar("few_operations", default=False)
_for_bfloat16: ContextVar[bool] = ContextVar("for_bfloat16", default=False)


@contextmanager
def few_operations() -> Iterator[None]:
    """Within it, functions of `leadline.nn` keep to convolutions, softmax, slices and element-wise arithmetic.

    For targets that have no more (Caffe, ncnn), and for counting multiplications without those that are only a way
    to be fast.
    """
    token = _few_operations.set(True)
    try:
        yield
    finally:
        _few_operations.reset(token)


def has_few_operations() -> bool:
    """Whether the caller is within `few_operations`."""
    return _few_operations.get()


@contextmanager
def for_bfloat16() -> Iterator[None]:
    """Within it, functions of `leadline.nn` that give disparities are written as a rough value and what is to be added.

    bfloat16 knows 8 binary digits: of 100 px it tells every half. Each of two parts is as exact as it is small, and
    their sum, behind `narrow`, is not computed in bfloat16 any more.
    """
    token = _for_bfloat16.set(True)
    try:
        yield
    finally:
        _for_bfloat16.reset(token)


def is_for_bfloat16() -> bool:
    """Whether the caller is within `for_bfloat16`."""
    return _for_bfloat16.get()


def narrow(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """x as bfloat16 holds it, for graphs that are made within `for_bfloat16`; elsewhere x itself.

    In the graph it is a convolution by 1: what leads from the last convolution to the output OpenVINO computes in
    float32, and everything else in bfloat16.
    """
    if not is_for_bfloat16():
        return x
    return F.conv2d(x, torch.eye(x.shape[1], dtype=x.dtype, device=x.device)[:, :, None, None])
