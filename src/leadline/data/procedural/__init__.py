"""Procedural scenes: an endless, licence-free source of pairs with exact ground truth."""

from leadline.data.procedural.dataset import ProceduralStereo, open_procedural
from leadline.data.procedural.raycast import RoomViews, render_rooms
from leadline.data.procedural.render import MotionBatch, middle_time, render_motion, render_stereo
from leadline.data.procedural.rooms import RoomConfig
from leadline.data.procedural.scene import SceneConfig

__all__ = [
    "MotionBatch",
    "ProceduralStereo",
    "RoomConfig",
    "RoomViews",
    "SceneConfig",
    "middle_time",
    "open_procedural",
    "render_motion",
    "render_rooms",
    "render_stereo",
]
