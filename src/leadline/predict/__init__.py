"""Predictors: from images as a camera gives them to a prediction in pixels or metres."""

from leadline.predict.network import NetworkPredictor
from leadline.predict.predictor import Predictor
from leadline.predict.stereo import OCCLUDED, StereoPrediction, predict_checked, predict_right

__all__ = ["OCCLUDED", "NetworkPredictor", "Predictor", "StereoPrediction", "predict_checked", "predict_right"]
