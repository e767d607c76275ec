"""Predictors: from images as a camera gives them to a prediction in pixels or metres."""

from leadline.predict.between import frames_between
from leadline.predict.careful import Careful
from leadline.predict.flow import FlowPrediction, predict_flow_checked
from leadline.predict.motion import MotionPrediction, predict_motion_depth
from leadline.predict.network import NetworkPredictor
from leadline.predict.predictor import Predictor
from leadline.predict.rescaled import Rescaled
from leadline.predict.resized import Resized
from leadline.predict.stereo import OCCLUDED, StereoPrediction, predict_checked, predict_right

__all__ = [
    "OCCLUDED",
    "Careful",
    "FlowPrediction",
    "MotionPrediction",
    "NetworkPredictor",
    "Predictor",
    "Rescaled",
    "Resized",
    "StereoPrediction",
    "frames_between",
    "predict_checked",
    "predict_flow_checked",
    "predict_motion_depth",
    "predict_right",
]
