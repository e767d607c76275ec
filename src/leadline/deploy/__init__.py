"""Deployment: a network becomes an artifact, and the artifact is proven in its runtime."""

from leadline.deploy.export import TARGETS, export
from leadline.deploy.verify import Tolerance, verify

__all__ = ["TARGETS", "Tolerance", "export", "verify"]
