"""HTTP responses of the console."""

from __future__ import annotations

from aiohttp import web

SECURITY_HEADERS = {
    # Nothing is loaded from elsewhere, and no script or style inside a page is executed.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
COOKIE = "gateway_console"


def html(body: bytes, status: int = 200) -> web.Response:
    """A page."""
    headers = {**SECURITY_HEADERS, "Content-Type": "text/html; charset=utf-8"}
    return web.Response(body=body, status=status, headers=headers)


def json(body: bytes) -> web.Response:
    """Values for a script of a page."""
    return web.Response(body=body, headers={**SECURITY_HEADERS, "Content-Type": "application/json"})


def download(body: bytes, content_type: str, name: str) -> web.Response:
    """A file to save."""
    headers = {
        **SECURITY_HEADERS,
        "Content-Type": content_type,
        "Content-Disposition": f'attachment; filename="{name}"',
    }
    return web.Response(body=body, headers=headers)


def redirect(location: str) -> web.Response:
    """Show another page of the console."""
    return web.Response(status=303, headers={**SECURITY_HEADERS, "Location": location})


def set_cookie(response: web.StreamResponse, request: web.BaseRequest, key: str) -> None:
    """Give a browser its key. An empty key removes it. The cookie is sent only by pages of the console itself."""
    forwarded = request.headers.get("X-Forwarded-Proto", "").split(",")[0].strip()
    is_secure = request.secure or forwarded == "https"
    response.set_cookie(
        COOKIE,
        key,
        max_age=None if key else 0,
        path="/",
        httponly=True,
        samesite="Strict",
        secure=is_secure,
    )
