"""Two ways to write the same thing: as runtimes on CPUs and GPUs are fast, or with as few operations as can be."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_few_operations: ContextVar[bool] = ContextVar("few_operations", default=False)


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
