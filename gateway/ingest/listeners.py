"""What the face for senders listens on, bound once and shared out to the processes of a gateway.

Each process has a TCP socket of its own on the same port (SO_REUSEPORT), and the kernel spreads connections over them.
Whoever bound them keeps them open: while a process is started again, its connections wait in the queue of its socket.
A Unix socket knows no such spreading; all processes accept from the one.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.config import ServerSettings
from gateway.model import GatewayError


@dataclass(frozen=True, slots=True)
class ListenSockets:
    """ListenSockets sockets that nobody listens on yet."""

    tcp: Sequence[Sequence[socket.socket]]
    """For each process, one for each address of the host."""
    unix: Sequence[socket.socket]
    """For all of them: one or none."""
    path: Path | None

    def of(self, number: int) -> Sequence[socket.socket]:
        """What a process listens on."""
        return [*self.tcp[number], *self.unix]

    @property
    def port(self) -> int:
        """The TCP port."""
        return int(self.tcp[0][0].getsockname()[1])

    def release(self) -> None:
        """Let go of them: whoever got one has it still."""
        for one in [*(one for many in self.tcp for one in many), *self.unix]:
            one.close()

    def close(self) -> None:
        """Let go of them, and of the path."""
        self.release()
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def bind(settings: ServerSettings, processes: int) -> ListenSockets:
    """Sockets for so many processes. Raises `GatewayError` when an address cannot be had."""
    host, port = settings.host, settings.port
    made: list[Sequence[socket.socket]] = []
    try:
        for _ in range(processes):
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            mine = []
            for address in dict.fromkeys((family, address) for family, _, _, _, address in found):
                mine.append(_bind_tcp(*address, port=port, shared=processes > 1))
                port = mine[-1].getsockname()[1]
            made.append(mine)
    except OSError as error:
        raise GatewayError(
            f"cannot listen on server.host {host}, server.port {settings.port}: {error.strerror}"
        ) from None
    if settings.unix_socket is None:
        return ListenSockets(made, (), None)
    path = Path(settings.unix_socket)
    return ListenSockets(made, (_bind_unix(path),), path)


def _bind_tcp(family: socket.AddressFamily, address: tuple[object, ...], *, port: int, shared: bool) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    try:
        made.bind((address[0], port, *address[2:]))
    except OSError:
        made.close()
        raise
    return made


def _bind_unix(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.is_socket():
            path.unlink()  # of a process that was killed; the spool's lock keeps a living one out
        made.bind(str(path))
        path.chmod(0o660)
    except OSError as error:
        made.close()
        raise GatewayError(f"cannot listen on server.unix_socket {path}: {error.strerror or error}") from None
    return made
