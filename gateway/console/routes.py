"""Which path shows which page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from gateway.console import actions
from gateway.console.pages import destination, event, letter, letters, live, overview, playground, problems, settings
from gateway.console.stream import INTERVAL
from gateway.console.view import Page


class Route(NamedTuple):
    """What a path is for."""

    make: Callable[[], Page]
    """The page. Of a page that remembers something while it is open, a new one for each request."""
    takes_form: bool = False
    """Whether it also takes a form that changes nothing."""
    is_action: bool = False
    """Whether it takes a form that changes something."""
    is_live: bool = False
    """Whether a part of it is kept up to date."""
    interval: float = INTERVAL
    """Seconds between two updates of its live part."""

    @property
    def methods(self) -> Sequence[str]:
        """The HTTP methods that it takes."""
        if self.is_action:
            return ("POST",)
        return ("GET", "HEAD", "POST") if self.takes_form else ("GET", "HEAD")


PAGES: Mapping[str, Route] = {
    "/": Route(lambda: overview.show, is_live=True),
    "/problems": Route(lambda: problems.show, is_live=True),
    "/problems/letters": Route(lambda: letters.show),
    "/problems/replay": Route(lambda: letters.preview_replay),
    "/problems/discard": Route(lambda: letters.preview_discard),
    "/event": Route(lambda: event.show),
    "/live": Route(live.Feed, is_live=True, interval=1.0),
    "/playground": Route(lambda: playground.show, takes_form=True),
    "/settings": Route(lambda: settings.show),
    "/actions/resume": Route(lambda: actions.resume, is_action=True),
    "/actions/replay": Route(lambda: actions.replay, is_action=True),
    "/actions/discard": Route(lambda: actions.discard, is_action=True),
}
NAMED_PAGES: Mapping[str, Route] = {
    "/destinations/": Route(lambda: destination.show, is_live=True),
    "/quality/": Route(lambda: destination.show_quality),
    "/problems/letters/": Route(lambda: letter.show),
}
"""Pages whose path ends with a name."""


def find_route(path: str) -> tuple[Route, str] | None:
    """The route of a path, and the name at the end of the path if it has one; None if there is no such page."""
    if path in PAGES:
        return PAGES[path], ""
    for prefix, route in NAMED_PAGES.items():
        name = path.removeprefix(prefix)
        if name not in {path, ""} and "/" not in name:
            return route, name
    return None
