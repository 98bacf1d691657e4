"""What the commands share: the settings, errors in a line, exit statuses."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from gateway.config import DestinationSettings, Settings

BAD_SETTINGS = 78
"""Exit status for settings that cannot be used (EX_CONFIG of sysexits.h)."""

ConfigPath = Annotated[Path, typer.Option("--config", "-c", help="The settings.", show_default=True)]
DEFAULT_CONFIG = Path("gateway.toml")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]

Url = Annotated[str | None, typer.Option("--url", help="The admin address; default: as the settings say.")]


def fail(message: str, status: int = 1) -> NoReturn:
    """End with a message on standard error."""
    print(message, file=sys.stderr)  # noqa: T201
    raise SystemExit(status)


def settings_or_exit(path: Path) -> Settings:
    """The settings, or a line for each fault and exit status 78."""
    from gateway.config import ConfigError, load

    try:
        return load(path)
    except ConfigError as error:
        fail(str(error), BAD_SETTINGS)


def destination_or_exit(settings: Settings, name: str | None) -> tuple[str, DestinationSettings]:
    """The destination that is meant: the named one, or the only one."""
    known = settings.destinations
    if name is None:
        if len(known) > 1:
            fail(f"there are several destinations: name one with --destination ({', '.join(known)})", 2)
        name = next(iter(known))
    if name not in known:
        fail(f"there is no destination {name}; there are {', '.join(known)}", 2)
    return name, known[name]


def read_input(file: str) -> bytes:
    """A file's bytes, or standard input's for `-`."""
    if file == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except OSError as error:
        fail(f"{file} cannot be read: {error.strerror}")


def ask(
    settings: Settings | None, url: str | None, method: str, path: str, query: dict[str, str]
) -> dict[str, Any] | None:
    """What the operators' face of a running gateway answers, at `url` or where the settings say; None: none runs."""
    import json
    import urllib.error
    import urllib.parse
    import urllib.request

    headers = {}
    if url is None and settings is not None:
        admin = settings.admin
        host = f"[{admin.host}]" if ":" in admin.host else admin.host
        url = f"http://{host}:{admin.port}"
        if admin.token is not None:
            headers["Authorization"] = f"Bearer {admin.token.reveal()}"
    if url is None or not url.startswith(("http://", "https://")):
        fail(f"--url has {url}; it may be an http or https address", 2)
    target = f"{url}{path}?{urllib.parse.urlencode(query)}"
    request = urllib.request.Request(target, headers=headers, method=method)  # noqa: S310 (http only, see above)
    try:
        with urllib.request.urlopen(request, timeout=600) as answer:  # noqa: S310
            found: dict[str, Any] = json.load(answer)
            return found
    except urllib.error.HTTPError as error:
        fail(f"{url} answered {error.code}: {error.read(300).decode(errors='replace')}")
    except OSError:
        return None
