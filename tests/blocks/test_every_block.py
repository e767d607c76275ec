"""What every block of the catalogue must do. That it computes the right thing is tested per block, in tests/nn."""

import math

import pytest
import torch
from safetensors.torch import load, save
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from leadline.blocks import CATALOGUE
from leadline.blocks.block import BATCH_SIZES, example_inputs
from leadline.nn.forms import few_operations

every_block = pytest.mark.parametrize("block", CATALOGUE.values(), ids=list(CATALOGUE))


def make(block, c=8, seed=0):
    torch.manual_seed(seed)
    module = block.make(c)
    for buffer in module.buffers():  # BatchNorms that have seen something
        if buffer.dtype.is_floating_point and buffer.dim() == 1 and len(buffer) > 1:
            buffer.uniform_(0.5, 1.5)
    for parameter in module.parameters():  # what begins at 0 would hide what comes after it
        if not parameter.any():
            torch.nn.init.normal_(parameter.data, std=0.1)
    return module.eval()


def size(block, rows=2, columns=3):
    return max(4, block.multiple) * rows, max(4, block.multiple) * columns


@every_block
def test_samples_of_a_batch_do_not_mix_and_any_size_goes(block):
    module = make(block)
    for h, w in (size(block), size(block, 3, 2), (block.multiple * 7, block.multiple * 9)):
        single = [example_inputs(block, 8, h, w, seed=seed) for seed in (1, 2)]
        steps = [BATCH_SIZES.get(kind, 1) for kind in block.inputs]
        both = [
            torch.stack([a.unflatten(0, (n, -1)), b.unflatten(0, (n, -1))], 1).flatten(0, 2)
            for a, b, n in zip(*single, steps, strict=True)
        ]
        with torch.no_grad():
            together, first, second = module(*both), module(*single[0]), module(*single[1])
        n = steps[0]
        apart = torch.stack([first.unflatten(0, (n, -1)), second.unflatten(0, (n, -1))], 1).flatten(0, 2)
        assert together.isfinite().all()
        torch.testing.assert_close(together, apart, atol=1e-5, rtol=1e-4)


@every_block
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=["float64", "bfloat16"])
def test_types(block, dtype):
    module, inputs = make(block), example_inputs(block, 8, *size(block))
    with torch.no_grad():
        reference = module(*inputs)
        result = module.to(dtype)(*(x.to(dtype) for x in inputs))
    assert result.dtype in (dtype, torch.float32)  # regression stays in float32
    if block.smooth:
        tolerance = 0.15 if dtype is torch.bfloat16 else 1e-4
        # 8 bits of mantissa may move what is looked up, so most and not all must agree
        close = (result.float() - reference).abs() <= tolerance * (1 + reference.abs())
        assert close.float().mean() > 0.95


@every_block
def test_gradient_reaches_every_input_and_parameter(block):
    module, inputs = make(block, 16).train(), example_inputs(block, 16, *size(block), batch=2)
    inputs = [x.requires_grad_(kind != "mask") for kind, x in zip(block.inputs, inputs, strict=True)]
    module(*inputs).float().square().sum().backward()
    frozen = [p for p in module.parameters() if not p.requires_grad]
    for name, tensor in [*module.named_parameters(), *zip(block.inputs, inputs, strict=True)]:
        if tensor.requires_grad and not any(tensor is p for p in frozen):
            assert tensor.grad is not None, name
            assert tensor.grad.isfinite().all(), name
            assert tensor.grad.any() or _may_vanish(block, name), name


def _may_vanish(block, name):
    """Keys' biases add the same to all scores of a softmax."""
    return name.endswith("key.bias")


@pytest.mark.parametrize("block", [b for b in CATALOGUE.values() if b.smooth], ids=lambda b: b.name)
def test_gradient_is_the_derivative(block):
    """Along one random direction, in float64, where nothing is drawn at random."""
    module = make(block).double()
    inputs = [x.double() for x in example_inputs(block, 8, *size(block, 2, 2), seed=3)]
    generator = torch.Generator().manual_seed(4)
    inputs = [x.requires_grad_(kind != "mask") for kind, x in zip(block.inputs, inputs, strict=True)]
    parameters = [p for p in module.parameters() if p.requires_grad]
    leaves = [x for x in inputs if x.requires_grad] + parameters
    directions = [torch.randn(leaf.shape, generator=generator, dtype=torch.double) for leaf in leaves]
    weights = torch.randn(module(*inputs).shape, generator=generator, dtype=torch.double)

    def value(step):
        with torch.no_grad():
            for leaf, direction in zip(leaves, directions, strict=True):
                leaf += step * direction
            found = (module(*inputs).double() * weights).sum().item()
            for leaf, direction in zip(leaves, directions, strict=True):
                leaf -= step * direction
        return found

    (module(*inputs).double() * weights).sum().backward()
    slope = sum(
        (leaf.grad * d).sum().item() for leaf, d in zip(leaves, directions, strict=True) if leaf.grad is not None
    )
    single = module(*inputs).dtype is torch.float32  # regression
    h = 1e-3 if single else 1e-6
    expected = (value(h) - value(-h)) / (2 * h)
    assert slope == pytest.approx(expected, rel=2e-2 if single else 1e-4, abs=5e-2 if single else 1e-5)


@every_block
def test_exports(block):
    module, inputs = make(block), example_inputs(block, 8, *size(block))
    with torch.no_grad():
        exported = torch.export.export(module, tuple(inputs)).module()
        torch.testing.assert_close(exported(*inputs), module(*inputs), atol=1e-5, rtol=1e-4)


@every_block
def test_tensors_make_the_block(block):
    module, other, inputs = make(block), make(block, seed=1), example_inputs(block, 8, *size(block))
    stored = save({key: value.contiguous() for key, value in module.state_dict().items()})
    other.load_state_dict(load(stored))
    with torch.no_grad():
        assert torch.equal(other(*inputs), module(*inputs))


class Products(TorchDispatchMode):
    """Counts the products of elements of large tensors."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.mul.Tensor:
            self.count += out.numel()
        return out


@pytest.mark.parametrize("block", [b for b in CATALOGUE.values() if b.counted], ids=lambda b: b.name)
def test_cost_formula(block):
    for c, (h, w) in ((8, size(block)), (16, size(block, 3, 2))):
        module, inputs = make(block, c), example_inputs(block, c, h, w)
        counter = Products() if block.elementwise else FlopCounterMode(display=False)
        plain = few_operations()  # not the form with more arithmetic that is faster
        with torch.no_grad(), torch.backends.mkldnn.flags(enabled=False), sdpa_kernel(SDPBackend.MATH), plain, counter:
            module(*inputs)
        counted = counter.count if isinstance(counter, Products) else counter.get_total_flops() / 2
        assert math.isclose(block.macs(c, h, w), counted), (block.macs(c, h, w), counted)
