"""What a page says after an action. The address has only a name and a count, so a link cannot make it say anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import urlencode

from gateway.console.formats import plural

NOTICES: Mapping[str, Callable[[int], str]] = {
    "resumed": lambda count: f"Calls to Meta were requested for {plural(count, 'lane')}. The state below follows.",
    "replayed": lambda count: f"{plural(count, 'dead letter was', 'dead letters were')} processed again.",
    "discarded": lambda count: f"{plural(count, 'dead letter was', 'dead letters were')} deleted.",
}
MAX_DIGITS = 12


def with_notice(location: str, notice: str, count: int) -> str:
    """The address of a page that shows a notice."""
    return f"{location}{'&' if '?' in location else '?'}{urlencode({'notice': notice, 'count': count})}"


def notice_of(query: Mapping[str, str]) -> str | None:
    """The notice that an address asks for."""
    notice, count = NOTICES.get(query.get("notice", "")), query.get("count", "")
    if notice is None or not count.isascii() or not count.isdigit() or len(count) > MAX_DIGITS:
        return None
    return notice(int(count))
