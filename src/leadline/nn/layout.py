"""Where a tensor's numbers lie in memory, for training's sake."""

import torch
from torch import Tensor


def plane_by_plane(x: Tensor) -> Tensor:
    """The same values, channel after channel in memory, and gradients handed back in the layout that x came in.

    For arithmetic on single channels in a network whose convolutions have channels last: there it would pick every
    c-th number, and BatchNorm's backward pass is several times slower where gradient and input are laid out
    differently. Changes nothing where no gradient is wanted.
    """
    trains = torch.is_grad_enabled() and x.requires_grad and not torch.compiler.is_exporting()
    return _PlaneByPlane.apply(x) if trains else x


class _PlaneByPlane(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.channels_last = x.is_contiguous(memory_format=torch.channels_last)
        return x.contiguous()

    @staticmethod
    def backward(ctx, *gradients: Tensor):
        form = torch.channels_last if ctx.channels_last else torch.contiguous_format
        return gradients[0].contiguous(memory_format=form)
