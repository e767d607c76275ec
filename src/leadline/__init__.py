"""leadline: from image pairs to a small, verified depth model on a device.

Everything public is reached from here; each name is imported when first used, so that `import leadline` and
`leadline --help` stay quick.
"""

from importlib import import_module
from typing import Any

from leadline.errors import UserError
from leadline.version import __version__

_WHERE = {
    "create": "leadline.models",
    "import_upstream": "leadline.models.upstream",
    "save": "leadline.checkpoint",
    "load": "leadline.zoo",
    "open_data": "leadline.data",
    "evaluate": "leadline.evaluation",
    "benchmark": "leadline.evaluation",
    "train": "leadline.training",
    "export": "leadline.deploy",
    "Network": "leadline.models",
    "Task": "leadline.models",
    "Predictor": "leadline.predict",
    "Sample": "leadline.data.sample",
    "StereoCamera": "leadline.geometry.camera",
}

__all__ = ["UserError", "__version__", *_WHERE]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'leadline' has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
