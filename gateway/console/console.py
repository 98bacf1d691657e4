"""Serves the console: finds the page of a request, checks who asks, and sends the page, a download or a stream."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from urllib.parse import quote

from aiohttp import web

from gateway.admin.access import AccessPolicy, Identity, Role
from gateway.admin.dead_letters import BadQuery
from gateway.admin.gateway import Gateway
from gateway.console import stream
from gateway.console.forms import read_form
from gateway.console.notices import notice_of
from gateway.console.rendering import Renderer
from gateway.console.responses import COOKIE, download, html, json, redirect, set_cookie
from gateway.console.routes import Route, find_route
from gateway.console.session import AttemptLimit, FormTokens, Sessions, is_key, new_key
from gateway.console.static_files import PREFIX, StaticFiles
from gateway.console.view import NotAllowed, NotFound, Page, Redirect, Services, View, Viewer, Visit
from gateway.model import GatewayError, UnixSeconds

log = logging.getLogger("gateway.console")

LOGIN, LOGOUT = "/login", "/logout"
MAX_TOKEN = 1000
"""Characters of a token that is tried."""
NOBODY = Identity(Role.READ, "nobody")
"""Who looks at the page to sign in."""
_LOCAL = re.compile(r"/(?![/\\])[!-\[\]-~]*")
"""A path of this console. `//host` and `/\\host` would lead elsewhere."""


class Console:
    """The web pages of a gateway."""

    def __init__(self, gateway: Gateway, clock: Callable[[], UnixSeconds]) -> None:
        self._clock = clock
        self._services = Services(gateway)
        self._files = StaticFiles()
        self._renderer = Renderer(self._files)
        self._sessions = Sessions(clock)
        self._form_tokens = FormTokens()
        self._attempts = AttemptLimit(clock)
        self._streams = stream.Streams()

    def serves(self, path: str) -> bool:
        """See `Site`."""
        return path in {LOGIN, LOGOUT} or path.startswith(PREFIX) or find_route(path) is not None

    async def respond(self, request: web.BaseRequest, policy: AccessPolicy) -> web.StreamResponse:
        """See `Site`."""
        if request.path.startswith(PREFIX):
            return self._files.response(request) or html(b"There is no such file.\n", 404)
        key = request.cookies.get(COOKIE, "")
        identity = policy.identify(request.headers) or self._sessions.find(key)
        is_new = not is_key(key)
        if is_new:
            key = new_key()  # before it signs in, and if no token is set, a browser needs a key for its forms
        is_signed_in = self._sessions.find(key) is not None
        visit = Visit(
            path=request.path,
            query=dict(request.query),
            form={},
            viewer=Viewer(identity or NOBODY, self._form_tokens.token(key), can_sign_out=is_signed_in),
            now=self._clock(),
        )
        try:
            response = await self._serve(request, policy, visit, key, identity)
        except (GatewayError, BadQuery) as error:
            response = self._error(error, visit)
        except ConnectionError:
            raise  # the browser has left
        except Exception:
            log.exception("a page of the console failed with an internal error", extra={"route": request.path})
            response = self._error(None, visit)
        if is_new and not response.prepared:
            set_cookie(response, request, key)
        return response

    async def _serve(
        self, request: web.BaseRequest, policy: AccessPolicy, visit: Visit, key: str, identity: Identity | None
    ) -> web.StreamResponse:
        if request.path == LOGIN:
            return await self._login(request, policy, visit, key)
        if identity is None:
            return self._ask_to_sign_in(request, visit)
        if request.path == LOGOUT:
            await self._form(request, key)
            self._sessions.close(key)
            response = redirect(LOGIN)
            set_cookie(response, request, "")
            return response
        found = find_route(request.path)
        assert found is not None  # noqa: S101 (`serves` was asked)
        route, name = found
        if request.method not in route.methods:
            raise BadQuery(f"Use {' or '.join(route.methods)} for this page.")
        form = await self._form(request, key) if request.method == "POST" else {}
        if route.is_action and not visit.viewer.can_act:
            raise NotAllowed("You may look at everything and change nothing. Sign in with the admin token to act.")
        return await self._show(request, route, replace(visit, form=form, name=name))

    async def _form(self, request: web.BaseRequest, key: str) -> Mapping[str, str]:
        """The fields of a form that was made for this browser. Raises `BadQuery`."""
        if request.method != "POST":
            raise BadQuery("Use POST for this page.")
        form = await read_form(request)
        if not self._form_tokens.is_valid(key, form.get("form_token", "")):
            raise BadQuery("The form is too old, or was not made for this browser. Load the page again.")
        return form

    async def _show(self, request: web.BaseRequest, route: Route, visit: Visit) -> web.StreamResponse:
        page = route.make()
        wanted = visit.query.get("format", "html")
        if wanted == "stream" and route.is_live and request.method == "GET":
            return await self._stream(request, page, visit, route.interval)
        view = await page(self._services, visit)
        if isinstance(view, Redirect):
            return redirect(view.location)
        if wanted == "html":
            return html(self._renderer.page(view, visit, notice_of(visit.query)))
        return _download(view, wanted, visit.query.get("table", ""))

    async def _stream(self, request: web.BaseRequest, page: Page, visit: Visit, interval: float) -> web.StreamResponse:
        if self._streams.is_full:
            raise GatewayError(f"{stream.MAX_STREAMS} pages are kept up to date already. Reload the page instead.")
        key = request.cookies.get(COOKIE, "")

        async def render() -> bytes | None:
            if visit.viewer.can_sign_out and self._sessions.find(key) is None:
                return None
            current = replace(visit, now=self._clock())
            view = await page(self._services, current)
            return self._renderer.live_part(view, current) if isinstance(view, View) else None

        return await self._streams.run(request, render, interval)

    def _ask_to_sign_in(self, request: web.BaseRequest, visit: Visit) -> web.StreamResponse:
        if request.method != "GET" or visit.query.get("format", "html") != "html":
            return html(b"Sign in first, or send a token as `Authorization: Bearer ...`.\n", 401)
        if request.headers.get("Sec-Fetch-Site") == "cross-site":
            # The browser keeps the cookie back when a link of another site is followed. This page follows it again.
            return html(self._renderer.page(View("continue.html", "Opening", request.path_qs), visit))
        return redirect(f"{LOGIN}?next={quote(request.path_qs, safe='')}")

    async def _login(
        self, request: web.BaseRequest, policy: AccessPolicy, visit: Visit, key: str
    ) -> web.StreamResponse:
        target = visit.query.get("next", "/")
        if not _LOCAL.fullmatch(target) or target == LOGOUT:
            target = "/"
        if request.method != "POST":
            return html(self._renderer.page(View("login.html", "Sign in", None), visit))
        address = request.remote or ""
        wait = self._attempts.seconds_to_wait(address)
        if wait > 0:
            response = self._login_failed(visit, f"Too many attempts. Try again in {wait:.0f} s.", 429)
            response.headers["Retry-After"] = f"{wait:.0f}"
            return response
        form = await self._form(request, key)
        identity = policy.owner(form.get("token", "")[:MAX_TOKEN].strip())
        if identity is None:
            self._attempts.failed(address)
            log.warning("somebody tried to sign in to the console with a wrong token")
            return self._login_failed(visit, "This is neither the admin token nor the read token.", 403)
        log.info("signed in to the console with the %s", identity.name)
        response = redirect(target)
        set_cookie(response, request, self._sessions.open(identity))
        return response

    def _login_failed(self, visit: Visit, reason: str, status: int) -> web.Response:
        return html(self._renderer.page(View("login.html", "Sign in", reason), visit), status)

    def _error(self, error: Exception | None, visit: Visit) -> web.Response:
        """A page that says what is wrong; None: an error of the gateway itself."""
        status, title = next((known for kind, known in ERRORS.items() if isinstance(error, kind)), INTERNAL)
        text = str(error) if error is not None else "The gateway failed to make this page; its log has the details."
        return html(self._renderer.page(View("error.html", title, text), visit), status)


def _download(view: View, wanted: str, name: str) -> web.Response:
    """A table of a page as a file, or the values of a plot. Raises `BadQuery`."""
    if wanted == "plot":
        plot = next((plot for plot in view.plots if plot.name == name), None)
        if plot is None:
            raise BadQuery("There is no such plot.")
        return json(plot.as_json())
    table = view.downloads.get(name)
    if wanted not in {"csv", "json"} or table is None:
        names = ", ".join(view.downloads) or "none"
        raise BadQuery(f"`format` must be csv or json, and `table` one of: {names}.")
    file = f"{view.template.removesuffix('.html')}-{name}.{wanted}"
    if wanted == "csv":
        return download(table().as_csv(), "text/csv; charset=utf-8", file)
    return download(table().as_json(), "application/json", file)


ERRORS: Mapping[type[Exception], tuple[int, str]] = {
    NotFound: (404, "Not found"),
    NotAllowed: (403, "Not allowed"),
    BadQuery: (400, "Not possible"),
    GatewayError: (503, "Not available"),
}
"""Status and title by kind of error; the first that matches."""
INTERNAL = 500, "Something failed"
