"""A simulation of Meta's Graph API for tests: it validates calls as Meta does, and injects faults on request."""

from gateway.sandbox.server import Sandbox, SandboxOptions, run

__all__ = ["Sandbox", "SandboxOptions", "run"]
