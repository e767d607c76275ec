"""Converts a Caffe model with MNN and runs it once: PROTOTXT CAFFEMODEL IMAGES.npz OUTPUT_NAME FOUND.npy.

Run as a program of its own, since MNN answers a layer that it does not like by crashing. Calls the converter itself
rather than the `mnnconvert` command, which reports to its makers.
"""

import sys

import numpy as np


def main(prototxt: str, caffemodel: str, images: str, output: str, found: str) -> None:
    import _tools  # type: ignore[import-not-found]  # MNN's converter
    import MNN  # type: ignore[import-not-found]
    import MNN.expr  # type: ignore[import-not-found]

    converted = "model.mnn"
    files = ["--modelFile", caffemodel, "--prototxt", prototxt, "--MNNModel", converted]
    _tools.mnnconvert(["mnnconvert", "-f", "CAFFE", *files, "--bizCode", "leadline"])
    arrays = dict(np.load(images))
    module = MNN.nn.load_module_from_file(converted, list(arrays), [output])
    variables = []
    for array in arrays.values():
        variable = MNN.expr.placeholder(list(array.shape), MNN.expr.NCHW)  # pyright: ignore[reportAttributeAccessIssue]
        variable.write(np.ascontiguousarray(array, np.float32))
        variables.append(variable)
    result = module.forward(variables)
    result = result[0] if isinstance(result, list | tuple) else result
    np.save(found, MNN.expr.convert(result, MNN.expr.NCHW).read())  # pyright: ignore[reportAttributeAccessIssue]


if __name__ == "__main__":
    main(*sys.argv[1:])
