"""Caffe: model.prototxt and model.caffemodel, written by leadline itself; there is no Caffe to be installed."""

from leadline.deploy.targets.caffe.convert import convert, unsupported

__all__ = ["convert", "unsupported"]
