"""Deployment: a network becomes an artifact, and the artifact is proven in its runtime."""

from leadline.deploy.check import Finding, Verdict, check
from leadline.deploy.export import TARGETS, export
from leadline.deploy.verify import Tolerance, verify

__all__ = ["TARGETS", "Finding", "Tolerance", "Verdict", "check", "export", "verify"]
