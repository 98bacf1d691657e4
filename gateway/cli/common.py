"""Shared parts of the commands: common options, error messages, exit statuses, calls to the admin port."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from gateway.escaping import ascii_json, printable

if TYPE_CHECKING:
    from gateway.config import DestinationSettings, Settings

BAD_SETTINGS = 78
"""Exit status for settings that cannot be used (EX_CONFIG of sysexits.h)."""
ADMIN_TIMEOUT = 600.0
"""Seconds for a call to the admin port; a replay of many dead letters takes minutes."""

MAX_ERROR_BYTES = 2000
"""Bytes of an error response that are read."""

NO_CONNECTION = "cannot connect to the admin port; is the gateway running?"

ConfigPath = Annotated[
    Path, typer.Option("--config", "-c", envvar="GATEWAY_CONFIG", help="Settings file.", show_default=True)
]
DEFAULT_CONFIG = Path("gateway.toml")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]

Url = Annotated[
    str | None,
    typer.Option("--url", help="URL of the gateway's admin port. Default: from the `admin` section of the settings."),
]


class AdminError(Exception):
    """The admin port answered with an error, or with something that is no answer of a gateway."""


def fail(message: str, status: int = 1) -> NoReturn:
    """Exit with a message of one or several lines on standard error."""
    for line in message.split("\n"):
        print_line(line, error=True)
    raise SystemExit(status)


def print_line(text: str, *, error: bool = False) -> None:
    """Print one line to standard output, or to standard error.

    Characters that are not printable are escaped, since senders and Meta choose parts of most texts.
    """
    typer.echo(printable(text), err=error)


def print_json(value: Any, *, indent: int | None = None, error: bool = False) -> None:
    """Print a value as JSON in ASCII."""
    import json

    typer.echo(ascii_json(json.dumps(value, indent=indent).encode()), err=error)


def settings_or_exit(path: Path) -> Settings:
    """The settings; exits with status 78 and one line for each error when they cannot be used."""
    from gateway.config import ConfigError, load

    try:
        return load(path)
    except ConfigError as error:
        fail(str(error), BAD_SETTINGS)


def destination_or_exit(settings: Settings, name: str | None) -> tuple[str, DestinationSettings]:
    """The named destination, or the only one when `name` is None; exits with status 2 when there is no such one."""
    destinations = settings.destinations
    if name is None:
        if len(destinations) > 1:
            fail(f"--destination: required, since there are several destinations: {', '.join(destinations)}", 2)
        name = next(iter(destinations))
    if name not in destinations:
        fail(f"--destination: unknown destination {name!r}; expected one of {', '.join(destinations)}", 2)
    return name, destinations[name]


def check_http_url(url: str) -> None:
    """Exit with status 2 unless `url` is an HTTP or HTTPS URL."""
    if not url.startswith(("http://", "https://")):
        fail(f"--url: invalid value {url!r}; expected an http or https URL", 2)


def read_input(file: str) -> bytes:
    """The content of a file, or of standard input for `-`; exits when it cannot be read."""
    if file == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except OSError as error:
        fail(f"cannot read {file}: {error.strerror}")


def call_admin(
    settings: Settings | None, url: str | None, method: str, path: str, query: dict[str, str]
) -> dict[str, Any] | None:
    """Call the admin port of a running gateway, at `url` or at the address in the settings; None when none is running.

    One of `settings` and `url` must be given. Exits when the response is an error.
    """
    try:
        return try_admin(settings, url, method, path, query)
    except AdminError as error:
        fail(str(error))


def read_admin(settings: Settings | None, url: str | None, path: str, query: dict[str, str]) -> dict[str, Any]:
    """The JSON object at a path of the admin port. Exits when there is none."""
    answer = call_admin(settings, url, "GET", path, query)
    if answer is None:
        fail(NO_CONNECTION)
    return answer


def try_admin(
    settings: Settings | None,
    url: str | None,
    method: str,
    path: str,
    query: dict[str, str],
    timeout: float = ADMIN_TIMEOUT,
) -> dict[str, Any] | None:
    """Call the admin port as `call_admin` does, for at most `timeout` seconds. Raises `AdminError`."""
    import http.client
    import json
    import urllib.error
    import urllib.parse
    import urllib.request

    headers = {}
    if url is None:
        assert settings is not None  # noqa: S101 (see the docstring)
        admin = settings.admin
        host = f"[{admin.host}]" if ":" in admin.host else admin.host
        url = f"http://{host}:{admin.port}"
        if admin.token is not None:
            headers["Authorization"] = f"Bearer {admin.token.reveal()}"
    check_http_url(url)
    target = f"{url.rstrip('/')}{path}?{urllib.parse.urlencode(query)}"
    request = urllib.request.Request(target, headers=headers, method=method)  # noqa: S310 (http only, see above)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:  # noqa: S310
            body = json.load(response)
    except urllib.error.HTTPError as error:
        message = f"{url}{path} answered with status {error.code}: {_error_message(error.read(MAX_ERROR_BYTES))}"
        raise AdminError(message) from None
    except OSError:
        return None
    except (http.client.HTTPException, ValueError):
        body = None
    if not isinstance(body, dict):
        raise AdminError(f"{url}{path} did not answer with a JSON object; is it the admin port of a gateway?")
    return body


@contextmanager
def reading_answer() -> Iterator[None]:
    """Exit with a sentence when the answer of the admin port, which is read inside, has another form."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        fail("the answer of the admin port cannot be read; is it the port of a gateway of the same version?")


def confirm(question: str, *, yes: bool) -> None:
    """Ask before an action that cannot be undone, unless `yes`; exits when it is not confirmed.

    Without a terminal nobody can answer, so the action is refused with status 2.
    """
    if yes:
        return
    if not is_interactive():
        fail(f"{question} There is no terminal to ask; add --yes to confirm.", 2)
    if not typer.confirm(printable(question), err=True):
        fail("nothing was changed")


def is_interactive() -> bool:
    """Whether somebody can answer a question."""
    return sys.stdin.isatty()


def _error_message(body: bytes) -> str:
    """The code and message of an error response, on one line; of another server, its text."""
    import json

    text = body.decode(errors="replace")
    try:
        error = json.loads(text)
        return printable(f"{error['code']}: {error['message']}")
    except (ValueError, KeyError, TypeError, RecursionError):
        return printable(text)
