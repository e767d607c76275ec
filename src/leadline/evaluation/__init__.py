"""Evaluation: predictors against ground truth."""

from leadline.evaluation.alignment import DepthProtocol
from leadline.evaluation.benchmark import Benchmark, benchmark
from leadline.evaluation.metrics import METRICS, StereoSums
from leadline.evaluation.results import OVER_PIXELS, OVER_SAMPLES, Results
from leadline.evaluation.runner import evaluate

__all__ = [
    "METRICS",
    "OVER_PIXELS",
    "OVER_SAMPLES",
    "Benchmark",
    "DepthProtocol",
    "Results",
    "StereoSums",
    "benchmark",
    "evaluate",
]
