"""The console: web pages on the admin port for operators, marketers and developers.

Pages are rendered on the server and work without JavaScript; scripts only add what moves. A module of `pages` builds
the values of one page from what the gateway tells, and a template of the same name shows them.
"""

from gateway.console.console import Console

__all__ = ["Console"]
