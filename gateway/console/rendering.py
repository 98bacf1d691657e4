"""Renders pages from their templates.

aiohttp-jinja2 belongs to an `aiohttp.web.Application`; the admin port is served by a plain handler, which checks the
host, the origin and the token of each request before anything else. So Jinja2 is used directly.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context

from gateway import __version__
from gateway.console import formats
from gateway.console.past import RANGES
from gateway.console.static_files import StaticFiles
from gateway.console.view import View, Viewer, Visit

NAVIGATION = (
    ("/", "Overview"),
    ("/problems", "Problems"),
    ("/event", "Event"),
    ("/live", "Live"),
    ("/playground", "Playground"),
    ("/settings", "Settings"),
)


class Renderer:
    """Renders templates. Every value is escaped."""

    def __init__(self, files: StaticFiles) -> None:
        self._environment = environment = Environment(
            loader=FileSystemLoader(Path(__file__).parent / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=formats.finalize,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        environment.filters.update(
            number=formats.number,
            decimal=formats.decimal,
            percent=formats.percent,
            size=formats.size,
            duration=formats.duration,
            moment=_moment,
            clock_time=formats.clock_time,
            plural=formats.plural,
            shown=formats.shown,
            marked=formats.marked,
            preformatted=formats.preformatted,
        )
        environment.globals.update(
            static=files.addresses, navigation=NAVIGATION, ranges=RANGES, version=__version__, plot_size=(600, 120)
        )

    def page(self, view: View, visit: Visit, notice: str | None = None) -> bytes:
        """The whole page."""
        return self._render(view.template, view=view, visit=visit, notice=notice, part="page")

    def live_part(self, view: View, visit: Visit) -> bytes:
        """The part of a page that changes while it is looked at."""
        return self._render(view.template, view=view, visit=visit, notice=None, part="live")

    def _render(self, template: str, **values: Any) -> bytes:
        visit: Visit = values["visit"]
        viewer: Viewer = visit.viewer
        view: View = values["view"]
        text = self._environment.get_template(template).render(
            **values, viewer=viewer, now=visit.now, page=view.model, title=view.title
        )
        # Senders can choose texts with half a surrogate pair.
        return text.encode(errors="replace")


@pass_context
def _moment(context: Context, at: float | None) -> str:
    return formats.moment(at, context["now"])
