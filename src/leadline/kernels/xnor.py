"""Convolution of signs by XNOR and popcount: 64 multiply-accumulates to an instruction or two.

Channels are packed into 64-bit words, bit 1 for +1. With n channels the sum of products of two vectors of signs is
n - 2 popcount(a xor b). A tap outside the image counts 0, as in a convolution padded with zeros: it is left out.
Channels that fill the last word up are +1 on both sides, and agree.

Numba compiles the kernel where it is installed (`pip install 'leadline[kernels]'`); else the same integers come from
torch. Source of the arithmetic: XNOR-Net (Rastegari et al., ECCV 2016).
Shapes: b batch, c channels, w words = ceil(c / 64), o channels out, kh kw kernel.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int32, UInt64
from torch import Tensor

from leadline.nn.quantize.binary import BinaryConv2d

WORD = 64
UNROLL = 3  # words of a window that are compared together, so that sums are loaded and stored less often


def has_compiled_kernel() -> bool:
    """Whether numba is here."""
    return find_spec("numba") is not None


def pack_channels(positive: np.ndarray) -> UInt64[np.ndarray, "n h w words"]:
    """(n, c, h, w) bool -> 64 channels to a word, channels last; the last word is filled up with ones."""
    n, c, h, w = positive.shape
    words = -(-c // WORD)
    bits = np.ones((n, h, w, words * WORD), bool)
    bits[..., :c] = positive.transpose(0, 2, 3, 1)
    packed = np.packbits(bits, axis=-1, bitorder="little")
    return packed.view(np.uint64).reshape(n, h, w, words)


class PackedConvolution:
    """A `BinaryConv2d` of one group and no dilation, ready to run on packed bits.

    Calling it with the layer's float input gives what the layer gives, its integer sums to the last bit:
    (b, c, h, w) -> (b, o, h2, w2).

    Args:
        layer: its signs are packed now; later changes of its weights are not seen.
        compiled: use numba; None: where it is installed.
        threads: of the compiled kernel; None: numba's own choice.

    Raises:
        ValueError: groups or dilation.
    """

    def __init__(self, layer: BinaryConv2d, compiled: bool | None = None, threads: int | None = None):
        if layer.groups != 1 or layer.dilation != (1, 1) or isinstance(layer.padding, str):
            raise ValueError("the packed convolution knows one group, no dilation, and padding in numbers")
        self.layer = layer
        self.threads = threads
        self.compiled = has_compiled_kernel() if compiled is None else compiled
        packed = pack_channels((layer.weight.detach() >= 0).cpu().numpy())
        self.weight = np.ascontiguousarray(packed.transpose(1, 2, 3, 0))  # (kh, kw, words, o)
        self.bytes = self.weight.nbytes

    def count(self, signs_positive: np.ndarray) -> Int32[np.ndarray, "b o h2 w2"]:
        """The sums of products of signs, of (b, c, h, w) bool inputs."""
        layer = self.layer
        (sh, sw), (ph, pw) = layer.stride, layer.padding
        if not self.compiled:
            x = torch.from_numpy(signs_positive).float() * 2 - 1
            weight = torch.where(layer.weight.detach() >= 0, 1.0, -1.0)
            return F.conv2d(x, weight, None, (sh, sw), (int(ph), int(pw))).numpy().astype(np.int32)
        return self.count_packed(pack_channels(signs_positive)).transpose(0, 3, 1, 2)

    def count_packed(self, packed: UInt64[np.ndarray, "b h w words"]) -> Int32[np.ndarray, "b h2 w2 o"]:
        """The same of inputs that are packed already, with the compiled kernel; channels last."""
        layer = self.layer
        (sh, sw), (ph, pw) = layer.stride, layer.padding
        kh, kw = layer.kernel_size
        b, h, w, _ = packed.shape
        size = (h + 2 * int(ph) - kh) // sh + 1, (w + 2 * int(pw) - kw) // sw + 1
        made = np.empty((b, *size, layer.out_channels), np.int32)
        if self.threads is not None:
            import numba

            numba.set_num_threads(self.threads)
        _kernel()(packed, self.weight, made, layer.in_channels, sh, sw, int(ph), int(pw))
        return made

    @torch.no_grad()
    def __call__(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b o h2 w2"]:
        layer = self.layer
        positive = (input - layer.threshold.view(-1, 1, 1) >= 0).cpu().numpy()
        out = torch.from_numpy(self.count(positive)).float() * layer.scale.view(-1, 1, 1)
        if layer.bias is not None:
            out = out + layer.bias.view(-1, 1, 1)
        return out + input if layer.shortcut else out


@functools.cache
def _kernel() -> Callable[..., Any]:
    """Compiles the kernel; the first call takes some seconds."""
    import numba
    from numba import types
    from numba.extending import intrinsic

    def count(typing_context: Any, word: Any) -> Any:
        def generate(context, builder, signature, arguments):
            return builder.ctpop(arguments[0])

        return types.uint64(types.uint64), generate

    popcount: Any = intrinsic(count)

    def run(x, weight, made, channels, sh, sw, ph, pw):
        b, h, w, words = x.shape
        oh, ow, o = made.shape[1:]
        kh, kw = weight.shape[0], weight.shape[1]
        flat = weight.reshape(kh * kw * words, o)
        for line in numba.prange(b * oh):
            n, i = line // oh, line % oh
            given = np.empty(kh * kw * words + UNROLL, np.uint64)  # the words of a window that lie inside the image
            place = np.empty(kh * kw * words + UNROLL, np.int64)  # and the weights that they meet
            apart = np.empty(o, np.uint64)
            for j in range(ow):
                found = 0
                for r in range(kh):
                    row = i * sh - ph + r
                    if row < 0 or row >= h:
                        continue
                    for s in range(kw):
                        column = j * sw - pw + s
                        if column < 0 or column >= w:
                            continue
                        for t in range(words):
                            given[found] = x[n, row, column, t]
                            place[found] = (r * kw + s) * words + t
                            found += 1
                apart[:] = 0
                done = 0
                while done + UNROLL <= found:
                    a0, a1, a2 = given[done], given[done + 1], given[done + 2]
                    w0, w1, w2 = flat[place[done]], flat[place[done + 1]], flat[place[done + 2]]
                    for k in range(o):
                        apart[k] += popcount(a0 ^ w0[k]) + popcount(a1 ^ w1[k]) + popcount(a2 ^ w2[k])
                    done += UNROLL
                while done < found:
                    a0, w0 = given[done], flat[place[done]]
                    for k in range(o):
                        apart[k] += popcount(a0 ^ w0[k])
                    done += 1
                total = channels * (found // words)
                for k in range(o):
                    made[n, i, j, k] = total - 2 * np.int32(apart[k])

    plain = inspect.unwrap(run)  # without what a run-time type checker may have put round it
    return numba.njit(parallel=True, boundscheck=False)(plain)
