"""One gateway of one or several processes: each with its own spool file, on one port, told as one.

`serve` is the way in. A single process is a `Service` by itself; several are workers under a `Supervisor`.
"""

from gateway.workers.run import serve

__all__ = ["serve"]
