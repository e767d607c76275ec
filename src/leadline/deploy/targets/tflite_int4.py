"""Weights of 4 bits in a TFLite file: two to a byte. litert-torch leaves them a byte each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from leadline.artifacts.runtimes import need
from leadline.nn.quantize.pack import pack_nibbles


def pack_int4(path: Path) -> int:
    """Stores every int8 weight whose codes all fit 4 bits as INT4, in place; returns how many there are.

    Nothing is lost by it: LiteRT widens them when the model is loaded.
    """
    schema = need("ai_edge_litert.schema_py_generated", "tflite")
    flatbuffers = need("flatbuffers", "tflite")
    model = schema.ModelT.InitFromPackedBuf(bytearray(path.read_bytes()), 0)
    taking = {
        schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.DEPTHWISE_CONV_2D, schema.BuiltinOperator.DEQUANTIZE,
        schema.BuiltinOperator.TRANSPOSE_CONV, schema.BuiltinOperator.FULLY_CONNECTED,
    }  # fmt: skip
    packed = 0
    for graph in model.subgraphs:
        for operator in graph.operators:
            if model.operatorCodes[operator.opcodeIndex].builtinCode not in taking:
                continue
            for index in operator.inputs:
                tensor = graph.tensors[index]
                data = model.buffers[tensor.buffer].data
                if tensor.type != schema.TensorType.INT8 or data is None or len(data) == 0:
                    continue
                codes = np.frombuffer(bytes(data), np.int8)
                if codes.min() < -8 or codes.max() > 7:
                    continue
                model.buffers[tensor.buffer].data = pack_nibbles(torch.from_numpy(codes.copy())).numpy()
                tensor.type = schema.TensorType.INT4
                packed += 1
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return packed
