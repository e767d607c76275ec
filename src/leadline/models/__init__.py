"""The networks, one file each; importing this package registers all of them."""

from leadline.models import (
    dpt,
    fastdepth,
    mobilestereonet,
    mobilestereonet_3d,
    plumb_flow,
    plumb_frame,
    plummet,
    raft_small,
    raft_stereo,
    rife,
)
from leadline.models.network import Network, Task
from leadline.models.registry import create, names, register

__all__ = [
    "Network",
    "Task",
    "create",
    "dpt",
    "fastdepth",
    "mobilestereonet",
    "mobilestereonet_3d",
    "names",
    "plumb_flow",
    "plumb_frame",
    "plummet",
    "raft_small",
    "raft_stereo",
    "register",
    "rife",
]
