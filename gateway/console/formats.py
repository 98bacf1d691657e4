"""Numbers, sizes, durations and times as people read them. The filters of the templates."""

from __future__ import annotations

from datetime import UTC, datetime

from markupsafe import Markup, escape

from gateway.escaping import printable
from gateway.model import UnixSeconds

MISSING = "–"
"""Shown for a value that is not known."""
MAX_TEXT = 200
"""Characters of a text of a sender or of Meta that are shown; the rest is cut."""
MAX_SENTENCE = 1000
"""Characters of a sentence that are shown."""
_SPACE = "\N{NO-BREAK SPACE}"
_UNITS = ((86_400, "day", "h", 3600), (3600, "h", "min", 60), (60, "min", "s", 1))
RECENT_SECONDS = 86_400
"""Age up to which a time is shown as an age."""


def number(value: float | None) -> str:
    """A count, with separators."""
    return MISSING if value is None else f"{value:,.0f}"


def decimal(value: float | None) -> str:
    """A number with as many digits as matter: `0.25`, `3.2`, `1,204`."""
    if value is None:
        return MISSING
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 1 else f"{value:.2g}"


def percent(share: float | None) -> str:
    """A share from 0 to 1. It is never rounded to all or nothing."""
    if share is None:
        return MISSING
    if 0 < share < 0.01:
        return f"<{_SPACE}1{_SPACE}%"
    if 0.99 < share < 1:
        return f">{_SPACE}99{_SPACE}%"
    return f"{share:.0%}".replace("%", f"{_SPACE}%")


def size(value: float | None) -> str:
    """A number of bytes."""
    if value is None:
        return MISSING
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{decimal(round(value, 1))}{_SPACE}{unit}"
        value /= 1024
    return f"{decimal(round(value, 1))}{_SPACE}TiB"


def duration(seconds: float | None) -> str:
    """A time span in its largest one or two units, such as `11 min` or `2 h 5 min`."""
    if seconds is None:
        return MISSING
    if seconds < 1:
        return f"{seconds * 1000:.0f}{_SPACE}ms"
    if seconds < 60:
        return f"{decimal(round(seconds, 1))}{_SPACE}s"
    for length, unit, smaller, part in _UNITS:
        if seconds >= length:
            whole, rest = divmod(int(seconds), length)
            name = "days" if unit == "day" and whole > 1 else unit
            rest //= part
            return f"{whole}{_SPACE}{name}" + (f" {rest}{_SPACE}{smaller}" if rest and whole < 10 else "")
    return MISSING


def utc(at: UnixSeconds) -> str:
    """A time in UTC, to the second."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


def moment(at: UnixSeconds | None, now: UnixSeconds) -> str:
    """A time as an element: as an age if it is recent, else in UTC. A script shows it in the viewer's time zone."""
    if not at:
        return MISSING
    age = now - at
    form = "age" if 0 <= age < RECENT_SECONDS else "date"
    date = f"{datetime.fromtimestamp(at, UTC):%d %b %Y, %H:%M} UTC"
    return _element(at, form, _ago(age) if form == "age" else date)


def _ago(age: float) -> str:
    """An age of less than a day in its largest unit."""
    if age < 1:
        return "just now"
    seconds, unit = next((each, unit) for each, unit in ((3600, "h"), (60, "min"), (1, "s")) if age >= each)
    return f"{int(age // seconds)}{_SPACE}{unit} ago"


def clock_time(at: UnixSeconds) -> str:
    """The time of the day, to the second, as an element like those of `moment`."""
    return _element(at, "clock", f"{datetime.fromtimestamp(at, UTC):%H:%M:%S}")


def _element(at: UnixSeconds, form: str, text: str) -> Markup:
    stamp = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    return Markup('<time datetime="{}" title="{}" data-form="{}">{}</time>').format(stamp, utc(at), form, text)


def plural(count: float, noun: str, several: str | None = None) -> str:
    """A count with its noun: `1 event`, `2 events`."""
    return f"{number(count)}{_SPACE}{noun if count == 1 else several or f'{noun}s'}"


def visible(text: str) -> str:
    """The text on one line, with an escape in place of each character that cannot be seen or changes the order."""
    return _SPACE.join(map(printable, text.split(_SPACE)))


def preformatted(text: str) -> Markup:
    """A text of several lines, for `pre` and `textarea`."""
    return Markup("\n").join(visible(line) for line in text.split("\n"))


def finalize(value: object) -> object:
    """Applied to every value that a template shows: texts are made `visible`."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def marked(text: object) -> Markup:
    """A sentence of the gateway, with what is between backticks as code."""
    parts = [escape(visible(part)) for part in str(text)[:MAX_SENTENCE].split("`")]
    return Markup("").join(Markup("<code>{}</code>").format(part) if at % 2 else part for at, part in enumerate(parts))


def shown(text: object) -> str:
    """A text that a sender or Meta chose, on one line and cut. The template escapes it for HTML."""
    if text is None or text == "":
        return MISSING
    line = visible(str(text)[: MAX_TEXT + 1])
    return line if len(line) <= MAX_TEXT else f"{line[:MAX_TEXT]}…"
