"""Samples that pruning looks at: for gradients, for feature maps, and for what a loss of weights costs."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from leadline.data import open_data
from leadline.data.batch import Batch
from leadline.data.tasks import data_of
from leadline.errors import UserError
from leadline.evaluation.runner import Samples
from leadline.models import Network

RENDERED = "procedural:4,seed=99000007,size=192x448"  # that nothing else sees, and easy enough for a loss to show
LARGEST = (256, 512)  # px: gradients of larger windows need more memory than they tell


def read_samples(data: Samples | str | None, network: Network, limit: int = 8) -> list[Batch]:
    """The first samples of the data, cut to sizes that the network takes, each a batch of one.

    Args:
        data: with the truth of the network's task; None: rendered scenes.

    Raises:
        UserError: no samples, samples without truth, smaller than the network takes, or of another task.
    """
    samples = open_data(data or RENDERED, network.task) if data is None or isinstance(data, str) else data
    count = min(limit, len(samples))
    batches = [_cut(data_of(network.task).from_sample(samples[i]), network) for i in range(count)]
    if not any(bool(batch.valid.any()) for batch in batches):
        raise UserError(f"{data}: no sample with a truth to look at")
    return batches


def _cut(batch: Batch, network: Network) -> Batch:
    height, width = batch.truth.shape[-2:]
    m = network.size_multiple
    rows, columns = (max(m, min(have, most) // m * m) for have, most in zip((height, width), LARGEST, strict=True))
    rows, columns = max(rows, network.min_size[0]), max(columns, network.min_size[1])
    if rows > height or columns > width:
        raise UserError(
            f"a sample of {height}x{width} px is smaller than the {rows}x{columns} that {network.name} takes"
        )
    return type(batch)(*(t[..., :rows, :columns] if t.shape[-2:] == (height, width) else t for t in batch.tensors))


def error_of(network: Network, batch: Batch) -> Float[Tensor, ""]:
    """The mean end-point error, in the task's unit, over the truth that the network can give."""
    limit = float(getattr(network.config, "max_disparity", "inf"))
    valid = batch.valid & (batch.truth.abs().amax(1, keepdim=True) < limit)
    difference = network(*batch.images) - batch.truth
    # The root's gradient at 0 would not be finite; one channel needs none.
    error = difference.abs() if difference.shape[1] == 1 else (difference.square().sum(1, keepdim=True) + 1e-12).sqrt()
    return error[valid].mean()


def gradients_of(network: Network, batches: list[Batch]) -> dict[str, Tensor]:
    """The gradient of the mean error by parameter, summed over samples; the network is left without gradients."""
    network.eval()
    for batch in batches:
        error_of(network, batch).backward()
    found = {name: p.grad.detach().clone() for name, p in network.named_parameters() if p.grad is not None}
    network.zero_grad(set_to_none=True)
    return found
