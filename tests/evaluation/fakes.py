"""Small predictors and samples whose metrics are known."""

import numpy as np

from leadline.data.datasets.base import FileDataset, Item
from leadline.data.sample import Sample
from leadline.errors import UserError
from leadline.models import Task
from leadline.predict import Predictor


class Offset(Predictor):
    """Answers the red channel of the left image plus an offset; the samples here carry their truth in it."""

    def __init__(self, name="offset", offset=0.0, task=Task.STEREO):
        self.name = name
        self.task = task
        self.offset = offset
        self.calls = []

    def _predict(self, left, right):
        self.calls.append(left.shape)
        return left[..., 0].astype(np.float32) + np.float32(self.offset)


class Failing(Offset):
    """Fails on images of one width."""

    def __init__(self, name="failing", width=30, error=None):
        super().__init__(name)
        self.width = width
        self.error = error or RuntimeError("out of memory")

    def _predict(self, left, right):
        if left.shape[1] == self.width:
            raise self.error
        return super()._predict(left, right)


def sample(name, truth=20, size=(10, 20), **fields):
    image = np.full((*size, 3), truth, np.uint8)
    disparity = np.full(size, truth, np.float32)
    return Sample(name=name, images=(image, image), disparity=disparity, valid=np.ones(size, bool), **fields)


def data_set(samples, broken=(), missing=()):
    """A data set in which the samples at some places cannot be read, and some were missing when it was opened."""

    def read(item):
        index = [sample.name for sample in samples].index(item.name)
        if index in broken:
            raise UserError(f"{item.name}/left.png: truncated: copy it again")
        return samples[index]

    return FileDataset("folder:somewhere", [Item(sample.name) for sample in samples], read, list(missing))
