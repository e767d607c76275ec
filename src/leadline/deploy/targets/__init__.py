"""One module per target format, each with `convert(network, folder, request) -> Made`."""

from leadline.deploy.targets.request import Made, Request

__all__ = ["Made", "Request"]
