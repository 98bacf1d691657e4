"""Sockets that accept the connections of senders. They are bound once and shared by the processes of a gateway.

Each process has its own TCP socket on the same port (SO_REUSEPORT), and the kernel distributes connections over them.
The process that bound the sockets keeps them open, so connections to a worker that is being restarted wait in the queue
of its socket. The kernel does not distribute connections to Unix sockets: all processes accept from the same one.
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
    """Bound sockets on which no process listens yet."""

    tcp: Sequence[Sequence[socket.socket]]
    """For each process, one socket for each address of the host."""
    unix: Sequence[socket.socket]
    """Shared by all processes: one socket or none."""
    path: Path | None
    """Of the Unix socket."""

    def of(self, number: int) -> Sequence[socket.socket]:
        """The sockets on which process `number` listens."""
        return [*self.tcp[number], *self.unix]

    @property
    def port(self) -> int:
        """The TCP port."""
        return int(self.tcp[0][0].getsockname()[1])

    def release(self) -> None:
        """Close the sockets in this process. Duplicates in other processes stay open."""
        for listener in [*(listener for listeners in self.tcp for listener in listeners), *self.unix]:
            listener.close()

    def close(self) -> None:
        """Close the sockets and remove the file of the Unix socket."""
        self.release()
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def bind(settings: ServerSettings, processes: int) -> ListenSockets:
    """Bind the sockets of `processes` processes. Raises `GatewayError` when an address cannot be bound."""
    host, port = settings.host, settings.port
    tcp: list[Sequence[socket.socket]] = []
    try:
        for _ in range(processes):
            resolved = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            listeners = []
            for address in dict.fromkeys((family, address) for family, _, _, _, address in resolved):
                listeners.append(_bind_tcp(*address, port=port, shared=processes > 1))
                port = listeners[-1].getsockname()[1]
            tcp.append(listeners)
    except OSError as error:
        raise GatewayError(
            f"cannot listen on server.host {host}, server.port {settings.port}: {error.strerror}. "
            "Free the address or change the settings"
        ) from None
    if settings.unix_socket is None:
        return ListenSockets(tcp, (), None)
    path = Path(settings.unix_socket)
    return ListenSockets(tcp, (_bind_unix(path),), path)


def _bind_tcp(family: socket.AddressFamily, address: tuple[object, ...], *, port: int, shared: bool) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    try:
        listener.bind((address[0], port, *address[2:]))
    except OSError:
        listener.close()
        raise
    return listener


def _bind_unix(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.is_socket():
            path.unlink()  # left by a process that was killed; the lock of the spool excludes a running one
        listener.bind(str(path))
        path.chmod(0o660)
    except OSError as error:
        listener.close()
        raise GatewayError(
            f"cannot listen on server.unix_socket {path}: {error.strerror or error}. Check the path and its permissions"
        ) from None
    return listener
