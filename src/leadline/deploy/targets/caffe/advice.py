"""What to use in the place of an operation that Caffe does not know."""

_ADVICE = {
    "grid_sampler": "match by shifts (leadline.nn.correlation) rather than by warping",
    "gather": "weigh all planes instead: softmax and a sum over channels (leadline.nn.regression)",
    "index": "take contiguous slices, or weigh with constants",
    "scatter": "concatenate slices instead",
    "topk": "take softmax over all planes, with sharpened scores (leadline.nn.regression.local_soft_argmin)",
    "sort": "take softmax over all planes, with sharpened scores (leadline.nn.regression.local_soft_argmin)",
    "argmax": "take softmax of sharpened scores and a sum over channels (leadline.nn.regression.local_soft_argmin)",
    "max": "use amax, which gives no indices, or torch.maximum",
    "min": "use amin, which gives no indices, or torch.minimum",
    "convolution": "fold depth into channels or the batch and use conv2d (leadline.nn.plane_conv.PlaneConv)",
    "conv_transpose3d": "fold depth into channels or the batch and use conv_transpose2d",
    "upsample_trilinear3d": "resize rows and columns, then planes, with bilinear steps of whole factors",
    "upsample_bilinear2d": "resize by a whole factor, or a ratio of small numbers, with align_corners=False",
    "upsample_nearest2d": "resize by a whole factor",
    "upsample_bicubic2d": "use bilinear",
    "layer_norm": "use BatchNorm2d, which is folded into the convolution before it",
    "native_layer_norm": "use BatchNorm2d, which is folded into the convolution before it",
    "native_group_norm": "use BatchNorm2d, which is folded into the convolution before it",
    "group_norm": "use BatchNorm2d, which is folded into the convolution before it",
    "instance_norm": "use BatchNorm2d, which is folded into the convolution before it",
    "bmm": "use 1x1 convolutions with weights of the network's own",
    "mm": "use 1x1 convolutions with weights of the network's own",
    "addmm": "use 1x1 convolutions",
    "erf": "use ReLU in the place of GELU",
    "reflection_pad2d": "pad with zeros or by replication",
    "_adaptive_avg_pool2d": "pool to 1x1, or with a kernel of fixed size",
    "where": "multiply with a mask, or use clamp",
    "flip": "arrange the weights the other way round",
    "unfold": "take slices one by one",
}


def advice_for(operation: str) -> str:
    """In words, for an operation as ATen calls it ("topk", "max.dim")."""
    default = "use convolutions, element-wise arithmetic, slices and concatenation, or export to onnx"
    name = operation.partition(".")[0].removesuffix("_")
    found = [key for key in _ADVICE if name == key or name.startswith(f"{key}_")]
    return _ADVICE[max(found, key=len)] if found else default
