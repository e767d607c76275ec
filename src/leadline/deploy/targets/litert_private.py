"""The one place that touches litert-torch's internals; they are pinned, and a change of theirs is told here.

litert-torch is the only maintained way from PyTorch to TensorFlow's formats. Its converter is public; the lowering to
StableHLO that a SavedModel needs is not.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import Tensor, fx

from leadline.artifacts.runtimes import NotInstalled, need
from leadline.deploy.apart import one_reader_each, scales_apart
from leadline.deploy.broadcast import without_spreading
from leadline.deploy.fold import fold_batchnorm, fold_constants
from leadline.deploy.grouped import without_grouped_3d
from leadline.deploy.planes import planes_together
from leadline.deploy.quantized import frozen, is_quantized
from leadline.deploy.targets.calling import first_line, quiet
from leadline.deploy.targets.request import Request
from leadline.deploy.transposed import without_output_padding, without_transposed_3d
from leadline.errors import UserError
from leadline.models.network import Network

PINNED = "0.10.0"


def litert_version(extra: str) -> str:
    """litert-torch's version. Raises NotInstalled where it is missing."""
    try:
        return version("litert-torch")
    except PackageNotFoundError as error:
        raise NotInstalled(f"litert-torch is not installed: pip install 'leadline[{extra}]'") from error


def convert(network: Network, request: Request) -> Any:
    """The network as litert-torch's model, with inputs args_0, args_1, … and one output."""
    litert_version("tflite")
    with quiet():
        litert_torch = need("litert_torch", "tflite")
        try:
            example = request.example(network)
            module = without_grouped_3d(_prepared(planes_together(network), example))
            module = one_reader_each(scales_apart(without_spreading(without_transposed_3d(module))))
            options = {"quant_config": _keep_quantized()} if is_quantized(network) else {}
            return litert_torch.convert(module, example, **options)
        except Exception as error:  # it wraps nothing: whatever torch, MLIR or itself raised
            raise UserError(f"{network.name}: litert-torch does not convert it: {first_line(error)}") from error


def _keep_quantized() -> Any:
    """Tells the converter that the graph's quantise and dequantise nodes are meant: its integer kernels take them."""
    pt2e = import_module("litert_torch.quantize.pt2e_quantizer")
    config = import_module("litert_torch.quantize.quant_config").QuantConfig
    return config(pt2e_quantizer=pt2e.PT2EQuantizer().set_global(pt2e.get_symmetric_quantization_config()))


def to_tf_function(network: Network, request: Request) -> tuple[Callable[..., Any], list[Any]]:
    """The network as a function on TensorFlow's tensors, and the variables it reads, through StableHLO.

    Raises:
        UserError: libraries are missing, litert-torch is another version, or something in the network has no lowering.
    """
    found = litert_version("tensorflow")
    need("tensorflow", "tensorflow")
    with quiet():
        try:
            fx_infra = import_module("litert_torch.fx_infra")
            tf_integration = import_module("litert_torch.backend.tf_integration")
            lower = import_module("litert_torch.backend.export").exported_program_to_mlir
            build_variables, build_function = tf_integration._build_tf_state_dict, tf_integration._wrap_as_tf_func
            decompositions = fx_infra.decomp.pre_convert_decomp
            decompose = fx_infra.safe_run_decompositions
        except (ImportError, AttributeError) as error:
            raise UserError(
                f"litert-torch {found} is laid out differently from {PINNED}, which leadline was made for: "
                f"pip install litert-torch=={PINNED} ({error})"
            ) from error
        try:
            example = request.example(network)
            program = torch.export.export(_prepared(network, example), example)
            program = decompose(program, decompositions())
            lowered = lower(program, inline_constants=False)
            variables = build_variables(lowered)
            return build_function(lowered, variables), list(variables.values())
        except Exception as error:
            raise UserError(f"{network.name}: litert-torch does not lower it: {first_line(error)}") from error


def _prepared(network: Network, example: tuple[Tensor, ...]) -> fx.GraphModule:
    """The network as a graph that litert-torch 0.10.0 gets right.

    Its own folding of BatchNorm was seen to put a trained plummet-s off by 24 px, and transposed convolutions with
    output padding come out as others: both are done away with here. Constants are folded, for it leaves some of them
    to be computed by an operation that LiteRT does not know (STABLEHLO_IOTA).
    """
    return without_output_padding(fold_constants(fold_batchnorm(frozen(network, stored=False), example)))
