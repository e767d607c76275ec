"""Procedural scenes: an endless, licence-free source of pairs with exact ground truth."""

from leadline.data.procedural.dataset import ProceduralStereo, open_procedural
from leadline.data.procedural.render import MotionBatch, render_motion, render_stereo
from leadline.data.procedural.scene import SceneConfig

__all__ = ["MotionBatch", "ProceduralStereo", "SceneConfig", "open_procedural", "render_motion", "render_stereo"]
