"""The whole of it to watch: made-up store sales, a gateway, a stand-in for Meta."""

from gateway.demo.run import DemoOptions, run

__all__ = ["DemoOptions", "run"]
