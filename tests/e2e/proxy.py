"""A proxy that refuses the first requests, as an overloaded or stopping gateway does, and forwards the others."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self


class Proxy:
    """Responds to the first `times` requests with `status`, and forwards the others to the gateway."""

    def __init__(self, gateway: str, status: int, times: int) -> None:
        self.refused = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if outer.refused < times:
                    outer.refused += 1
                    self._respond(status, b'{"code":"overloaded","message":"Send again."}')
                    return
                forwarded = ("Authorization", "Content-Type", "Content-Encoding")
                headers = {name: self.headers[name] for name in forwarded if self.headers[name]}
                request = urllib.request.Request(gateway + self.path, body, headers)
                try:
                    with urllib.request.urlopen(request, timeout=20) as response:
                        self._respond(response.status, response.read())
                except urllib.error.HTTPError as error:
                    with error:
                        self._respond(error.code, error.read())

            def _respond(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                if status in {429, 503}:
                    self.send_header("Retry-After", "1")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
