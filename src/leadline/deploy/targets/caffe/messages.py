"""Caffe's protobuf messages, described at run time: the part of them that leadline writes.

Names and numbers are those of BVLC Caffe's caffe.proto (Permute: of its SSD branch, which every reader of today
knows). No generated file is needed, and no compiler for one.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from leadline.artifacts.runtimes import need

_PACKAGE = "leadline_caffe"

# message -> field -> (number, type); a * in front of the type: repeated, ** repeated and packed.
# Types that are no scalar are messages, or enums where they stand in _ENUMS.
_MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "BlobShape": {"dim": (1, "**int64")},
    "BlobProto": {"data": (5, "**float"), "shape": (7, "BlobShape")},
    "NetParameter": {"name": (1, "string"), "layer": (100, "*LayerParameter")},
    "LayerParameter": {
        "name": (1, "string"),
        "type": (2, "string"),
        "bottom": (3, "*string"),
        "top": (4, "*string"),
        "blobs": (7, "*BlobProto"),
        "concat_param": (104, "ConcatParameter"),
        "convolution_param": (106, "ConvolutionParameter"),
        "eltwise_param": (110, "EltwiseParameter"),
        "pooling_param": (121, "PoolingParameter"),
        "power_param": (122, "PowerParameter"),
        "relu_param": (123, "ReLUParameter"),
        "softmax_param": (125, "SoftmaxParameter"),
        "slice_param": (126, "SliceParameter"),
        "prelu_param": (131, "PReLUParameter"),
        "reshape_param": (133, "ReshapeParameter"),
        "elu_param": (140, "ELUParameter"),
        "scale_param": (142, "ScaleParameter"),
        "input_param": (143, "InputParameter"),
        "crop_param": (144, "CropParameter"),
        "permute_param": (202, "PermuteParameter"),
    },
    "ConcatParameter": {"axis": (2, "int32")},
    "ConvolutionParameter": {
        "num_output": (1, "uint32"),
        "bias_term": (2, "bool"),
        "group": (5, "uint32"),
        "pad_h": (9, "uint32"),
        "pad_w": (10, "uint32"),
        "kernel_h": (11, "uint32"),
        "kernel_w": (12, "uint32"),
        "stride_h": (13, "uint32"),
        "stride_w": (14, "uint32"),
        "dilation": (18, "*uint32"),
    },
    "CropParameter": {"axis": (1, "int32"), "offset": (2, "*uint32")},
    "ELUParameter": {"alpha": (1, "float")},
    "EltwiseParameter": {"operation": (1, "EltwiseOp"), "coeff": (2, "*float")},
    "InputParameter": {"shape": (1, "*BlobShape")},
    "PReLUParameter": {"channel_shared": (2, "bool")},
    "PermuteParameter": {"order": (1, "*uint32")},
    "PoolingParameter": {
        "pool": (1, "PoolMethod"),
        "kernel_h": (5, "uint32"),
        "kernel_w": (6, "uint32"),
        "stride_h": (7, "uint32"),
        "stride_w": (8, "uint32"),
        "pad_h": (9, "uint32"),
        "pad_w": (10, "uint32"),
    },
    "PowerParameter": {"power": (1, "float"), "scale": (2, "float"), "shift": (3, "float")},
    "ReLUParameter": {"negative_slope": (1, "float")},
    "ReshapeParameter": {"shape": (1, "BlobShape")},
    "ScaleParameter": {"axis": (1, "int32"), "bias_term": (4, "bool")},
    "SliceParameter": {"slice_point": (2, "*uint32"), "axis": (3, "int32")},
    "SoftmaxParameter": {"axis": (2, "int32")},
}
_ENUMS = {"EltwiseOp": ("PROD", "SUM", "MAX"), "PoolMethod": ("MAX", "AVE")}
_HOLDERS = {"EltwiseOp": "EltwiseParameter", "PoolMethod": "PoolingParameter"}  # both know a MAX


@cache
def message_types() -> Mapping[str, Any]:
    """The message classes by name. Raises UserError where protobuf is missing."""
    descriptor_pb2 = need("google.protobuf.descriptor_pb2", "caffe")
    descriptor_pool = need("google.protobuf.descriptor_pool", "caffe")
    message_factory = need("google.protobuf.message_factory", "caffe")
    file = descriptor_pb2.FileDescriptorProto(name=f"{_PACKAGE}.proto", package=_PACKAGE, syntax="proto2")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for enum, values in _ENUMS.items():
            if _HOLDERS[enum] == name:
                entry = message.enum_type.add(name=enum)
                for number, value in enumerate(values):
                    entry.value.add(name=value, number=number)
        for field, (number, type_) in fields.items():
            _add_field(descriptor_pb2.FieldDescriptorProto, message, field, number, type_)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = (pool.FindMessageTypeByName(f"{_PACKAGE}.{name}") for name in _MESSAGES)
    return {descriptor.name: message_factory.GetMessageClass(descriptor) for descriptor in found}


def _add_field(kinds: Any, message: Any, name: str, number: int, type_: str) -> None:
    plain = type_.lstrip("*")
    field = message.field.add(name=name, number=number)
    field.label = kinds.LABEL_REPEATED if type_.startswith("*") else kinds.LABEL_OPTIONAL
    if type_.startswith("**"):
        field.options.packed = True
    if plain in _ENUMS:
        field.type, field.type_name = kinds.TYPE_ENUM, f".{_PACKAGE}.{_HOLDERS[plain]}.{plain}"
    elif plain in _MESSAGES:
        field.type, field.type_name = kinds.TYPE_MESSAGE, f".{_PACKAGE}.{plain}"
    else:
        field.type = getattr(kinds, f"TYPE_{plain.upper()}")
