"""A stand-in for the Graph API that refuses what Meta refuses, and goes wrong when told to."""

from gateway.sandbox.server import Sandbox, SandboxOptions, run

__all__ = ["Sandbox", "SandboxOptions", "run"]
