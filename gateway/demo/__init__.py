"""A demonstration of the whole system: generated store sales, a gateway, and the sandbox as a simulation of Meta."""

from gateway.demo.run import DemoOptions, run

__all__ = ["DemoOptions", "run"]
