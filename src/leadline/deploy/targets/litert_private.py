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

from leadline.artifacts.runtimes import need
from leadline.deploy.fold import fold_batchnorm
from leadline.deploy.targets.calling import first_line, quiet
from leadline.deploy.targets.request import Request
from leadline.errors import UserError
from leadline.models.network import Network

PINNED = "0.10.0"


def litert_version(extra: str) -> str:
    """litert-torch's version. Raises UserError where it is missing."""
    try:
        return version("litert-torch")
    except PackageNotFoundError as error:
        raise UserError(f"litert-torch is not installed: pip install 'leadline[{extra}]'") from error


def convert(network: Network, request: Request) -> Any:
    """The network as litert-torch's model, with inputs args_0, args_1, … and one output."""
    litert_version("tflite")
    with quiet():
        litert_torch = need("litert_torch", "tflite")
        try:
            example = request.example(network)
            # Folded here: litert-torch 0.10.0's own folding was seen to put a trained plummet-s off by 24 px.
            return litert_torch.convert(fold_batchnorm(network, example), example)
        except Exception as error:  # it wraps nothing: whatever torch, MLIR or itself raised
            raise UserError(f"{network.name}: litert-torch does not convert it: {first_line(error)}") from error


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
            program = torch.export.export(network.eval(), request.example(network))
            program = decompose(program, decompositions())
            lowered = lower(program, inline_constants=False)
            variables = build_variables(lowered)
            return build_function(lowered, variables), list(variables.values())
        except Exception as error:
            raise UserError(f"{network.name}: litert-torch does not lower it: {first_line(error)}") from error
