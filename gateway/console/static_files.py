"""The files that pages load: style, scripts, icon. They are read at the start and named by their content."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from aiohttp import web

PREFIX = "/static/"
FOLDER = Path(__file__).parent / "static"
CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""By suffix. Other files of the folder, such as licences, are not served."""


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file, compressed once."""

    content: bytes
    compressed: bytes
    content_type: str


class StaticFiles:
    """All files, by the address in which they are named: it changes with the content, so browsers keep it for good."""

    def __init__(self) -> None:
        self._files: dict[str, StaticFile] = {}
        addresses: dict[str, str] = {}
        for path in sorted(FOLDER.iterdir()):
            if path.suffix in CONTENT_TYPES:
                content = path.read_bytes()
                address = f"{PREFIX}{sha256(content).hexdigest()[:12]}/{path.name}"
                compressed = gzip.compress(content, mtime=0)
                self._files[address] = StaticFile(content, compressed, CONTENT_TYPES[path.suffix])
                addresses[path.name] = address
        self.addresses: Mapping[str, str] = addresses
        """By file name."""

    def response(self, request: web.BaseRequest) -> web.Response | None:
        """The file that a request asks for; None if there is none."""
        file = self._files.get(request.path)
        if file is None:
            return None
        headers = {
            "Content-Type": file.content_type,
            "Cache-Control": "public, max-age=31536000, immutable",
            "X-Content-Type-Options": "nosniff",
            "Vary": "Accept-Encoding",
        }
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            return web.Response(body=file.compressed, headers={**headers, "Content-Encoding": "gzip"})
        return web.Response(body=file.content, headers=headers)
