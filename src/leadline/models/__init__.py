"""The networks, one file each; importing this package registers all of them."""

from leadline.models import mobilestereonet, mobilestereonet_3d, plummet
from leadline.models.network import Network, Task
from leadline.models.registry import create, names, register

__all__ = ["Network", "Task", "create", "mobilestereonet", "mobilestereonet_3d", "names", "plummet", "register"]
