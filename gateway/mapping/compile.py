"""The compiled mapper: settings and field table become one specialised Python function.

At start-up this writes the source of a function `map_event(event, now)` and compiles it once. While an event is mapped
no setting is looked up, no path is split and no list of fields is walked: containers are fetched once, a field is a
chain of `dict.get`. The function reads what is usual in straight lines and asks `Patient` for the rest. What it may
name stands in the dictionary that `_Writer.names` builds; `gateway explain --source` prints the result.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import orjson

from gateway.config import DestinationSettings
from gateway.mapping.contents import contents_of
from gateway.mapping.coverage import Counters
from gateway.mapping.custom import Verdicts, scrubbed
from gateway.mapping.dialects import (
    ACTION_SOURCES,
    FUTURE_TOLERANCE,
    LONG_WINDOW,
    SHORT_WINDOW,
    is_weak,
    processing_options,
)
from gateway.mapping.fields import BY_NAME, IDENTITY
from gateway.mapping.normalise import MOST, url
from gateway.mapping.patient import Patient
from gateway.mapping.rejections import rejected
from gateway.mapping.routes import OTHERWISE, Route, resemblance, routes_of
from gateway.mapping.rules import Rules, today_of, words_of
from gateway.mapping.walk import candidates, is_blank, number_of, text_of, unix_seconds
from gateway.model import Dialect, Lane, Mapped, MappedEvent, Rejection

LONGEST_TAG = 200


class Writer:
    """Writes the function for one destination; `names` is what its text refers to."""

    def __init__(self, name: str, destination: DestinationSettings, max_event_bytes: int, counters: Counters) -> None:
        self._name = name
        self._destination = destination
        self._conversions = destination.api is Dialect.CONVERSIONS
        self._lines: list[str] = []
        self._indent = 1
        self._containers: dict[str, str] = {}  # source path of an object -> the variable that holds it
        self.rules = Rules(destination)
        self.paths = {
            field.name: (*field.paths, *destination.extra_fields.get(field.name, ())) for field in BY_NAME.values()
        }
        value_field = (destination.value_field,) if destination.value_field else ()
        self.paths["value"] = tuple(dict.fromkeys(value_field + self.paths["value"]))

        def note(what: str) -> Callable[[], None]:
            def count() -> None:
                counters.notes[what] += 1

            return count

        def dropped(field: str, cause: str) -> None:
            counters.dropped[field, cause] += 1

        self.patient = Patient(self.rules, self.paths, wrong=note("wrong_type"), dropped=dropped)
        routes = {event: _lanes(name, destination, found) for event, found in routes_of(destination).items()}
        self.names: dict[str, Any] = {
            "C": counters.present,
            "DEFAULT_COUNTRY": self.rules.default_country,
            "EMPTY": {},
            "FLAT": frozenset({str, int, float, bool, type(None)}),
            "NOTES": counters.notes,
            "OTHER": routes[OTHERWISE],
            "ROUTES": routes,
            "CATEGORIES": dict(destination.category_to_content_type),
            "VERDICTS": Verdicts(),
            "Lane": lru_cache(1024)(Lane),
            "MappedEvent": MappedEvent,
            "contents_of": contents_of("item_price" if self._conversions else "price", note("product_without_id")),
            "dumps": orjson.dumps,
            "is_weak": is_weak,
            "odd": _odd(note("wrong_type")),
            "number_of": number_of,
            "processing_options": processing_options,
            "rejected": rejected,
            "scrubbed": scrubbed,
            "text_of": text_of,
            "today_of": today_of,
            "unix_seconds": unix_seconds,
            "url": lru_cache(1024)(url),
            "words_of": words_of,
            "find": self.patient.sent,
            "find_country": self.patient.country,
            "find_text": self._find_text(note("wrong_type")),
            "unmapped": _unmapped(name, destination),
            "wrong": note("wrong_type"),
            **{f"make_{field.name}": getattr(self.rules, field.name, None) for field in IDENTITY},
        }
        self._max_event_bytes = max_event_bytes

    def source(self) -> str:
        """The text of the function."""
        self._lines = []
        self._head()
        self._time()
        self._identity()
        self._custom()
        self._event()
        self._routes()
        return "\n".join(["def map_event(event, now):", *self._lines, ""])

    # Small things that the parts are made of.

    def _add(self, text: str) -> None:
        self._lines += [" " * 4 * self._indent + line if line.strip() else "" for line in text.strip("\n").split("\n")]

    def _container(self, path: str) -> str:
        """The variable of the object at a path, fetched where it is first needed; "" is the event."""
        if path == "":
            return "event"
        if path in self._containers:
            return self._containers[path]
        parent, _, leaf = path.rpartition(".")
        holder = self._container(parent)
        variable = "o_" + "".join(char if char.isalnum() else "_" for char in path) + f"_{len(self._containers)}"
        self._containers[path] = variable
        self._add(
            f"""
{variable} = {holder}.get({leaf!r})
if {variable}.__class__ is not dict:
    {variable} = EMPTY if {variable} is None else odd({variable})
"""
        )
        return variable

    def _chain(self, variable: str, paths: Sequence[str]) -> None:
        """`variable` becomes the first value that is not null; an empty object is asked once, not seven times."""
        grouped = itertools.groupby(paths, key=lambda path: path.rpartition(".")[0])
        runs = [(self._container(parent), [path.rpartition(".")[2] for path in run]) for parent, run in grouped]
        first = True
        for holder, leaves in runs:
            if first:
                self._add(f"{variable} = {holder}.get({leaves[0]!r})")
                rest = leaves[1:]
                first = False
            else:
                rest = leaves
            if not rest:
                continue
            self._add(f"if {variable} is None and {holder}:")
            for number, leaf in enumerate(rest):
                self._add(
                    f"    {variable} = {holder}.get({leaf!r})"
                    if not number
                    else f"    if {variable} is None: {variable} = {holder}.get({leaf!r})"
                )
        if first:
            self._add(f"{variable} = None")

    # The parts, in the order in which an event goes through them.

    def _head(self) -> None:
        self._add(
            """
if event.__class__ is not dict:
    return rejected("not_an_object", "The event is no JSON object.")
name = event.get("event")
if name.__class__ is not str or not name or name.isspace():
    name = text_of(name)
    if name is None:
        return rejected("missing_event_name", "The track call names no event.")
integrations = event.get("integrations")
wanted = None
if integrations is not None:
    if integrations.__class__ is dict:
        wanted = integrations.get("FacebookOfflineConversions")
        if wanted is None:
            wanted = integrations.get("Facebook Offline Conversions")
        if wanted is False or (wanted is None and integrations.get("All") is False):
            return None
    else:
        wrong()
routes = ROUTES.get(name)
if routes is None:
    routes = OTHER
if not routes:
    return unmapped(name)
C[-1] += 1
"""
        )
        for path in itertools.chain.from_iterable(self.paths.values()):
            self._container(path.rpartition(".")[0])
        self._container("context.page")

    def _time(self) -> None:
        self._text("event_id")
        self._add(
            """
at = event.get("originalTimestamp")
if at is None:
    at = event.get("timestamp")
if at is None:
    at = now
else:
    given = at
    at = unix_seconds(given)
    if at is None:
        given = find_text(event, "event_time")
        at = now if given is None else unix_seconds(given)
        if at is None:
            return rejected("event_time_invalid", "The event's time cannot be read.")
if at > now:
"""
        )
        self._add(
            f"""
    if at - now > {FUTURE_TOLERANCE}:
        return rejected("event_time_in_future", f"The event lies {{at - now}} seconds ahead.")
    at = now
"""
        )
        self._action_source()
        if self._conversions:
            self._add(f"window = {LONG_WINDOW} if source == 'physical_store' else {SHORT_WINDOW}")
        else:
            self._add(f"window = {LONG_WINDOW}")
        self._add(
            """
if now - at > window:
    return rejected("event_time_too_old", f"The event is {(now - at) // 86400} days old.")
"""
        )

    def _action_source(self) -> None:
        default = self._destination.action_source or ("physical_store" if self._conversions else None)
        self._chain("source", self.paths["action_source"])
        self.names["ACTION_SOURCES"] = ACTION_SOURCES
        properties = self._container("properties")
        self._add(
            f"""
own_source = False
if source is None:
    source = {default!r}
else:
    if source.__class__ is not str or source not in ACTION_SOURCES:
        source = find_text(event, "action_source")
        if source is not None and (source := source.strip().lower()) not in ACTION_SOURCES:
            wrong()
            source = None
    if source is None:
        source = {default!r}
    else:
        own_source = {properties}.get("action_source") == source
"""
        )

    def _identity(self) -> None:
        self._add("today = today_of(now // 86400)")
        self._add("m = {}")
        self._chain("x", self.paths["country"])
        self._add(
            f"""
country_sent = country = None
if x is not None:
    if x.__class__ is str and len(x) < {MOST}:
        country_sent, country = make_country(x)
    if country_sent is None:
        country_sent, country = find_country(event)
where = country or DEFAULT_COUNTRY
"""
        )
        for position, field in enumerate(IDENTITY):
            key = field.key(self._destination.api)
            if key is None:
                continue
            match field.name:
                case "country":
                    self._add(
                        f"""
if country_sent is not None:
    m[{key!r}] = country_sent
    C[{position}] += 1
"""
                    )
                case "birthday":
                    self._birthday(position)
                case "first_name":
                    self._names(position)
                case "last_name":
                    pass
                case "lead_id":
                    self._external_ids(position)
                case _:
                    self._match_key(field.name, key, position, many=field.many)
        self._add(
            """
if not m:
    return rejected("no_match_key", "Nothing in the event says who the customer is.")
"""
        )
        if self._conversions:
            self._add(
                """
if "external_id" not in m and "em" not in m and "ph" not in m and is_weak(m):
    return rejected("weak_match_keys", f"Meta refuses an identity of only {', '.join(sorted(m))}.")
"""
            )

    def _made(self, field: str) -> str:
        """The expression that makes of a text `x` what is sent."""
        if field in {"phone", "state", "zip"}:
            return f"make_{field}(x, where)"
        if field == "client_ip_address":
            self.names["make_client_ip_address"] = lambda text: self.rules.text("client_ip_address", text, None)
        if field in {"client_user_agent", "fbc", "fbp"}:
            return "x.strip() or None"
        return f"make_{field}(x)"

    def _match_key(self, field: str, key: str, position: int, *, many: bool) -> None:
        most = 4096 if field in {"client_user_agent", "fbc", "fbp"} else MOST
        self._chain("x", self.paths[field])
        listed = many or (self._conversions and field == "external_id")
        absent = ""
        if field == "fbc":
            absent = self._click_id(key, position)
        if field == "email":
            absent = f"""
elif {self._container("context")}.get("externalId") is not None:
    h = find(event, "email", country, today)
    if h is not None:
        m[{key!r}] = h
        C[{position}] += 1
"""
        self._add(
            f"""
if x is not None:
    h = {self._made(field)} if x.__class__ is str and len(x) < {most} else None
    if h is not None:
        m[{key!r}] = {"[h]" if listed else "h"}
        C[{position}] += 1
    else:
        h = find(event, {field!r}, country, today)
        if h is not None:
            m[{key!r}] = {"[h]" if listed and not many else "h"}
            C[{position}] += 1
"""
            + absent.lstrip("\n")
        )

    def _click_id(self, key: str, position: int) -> str:
        """`fbc` from the page's URL, where the browser left none (Meta: fbp and fbc parameters)."""
        page = self._container("context.page")
        properties = self._container("properties")
        self.names["click_id"] = _click_id
        return f"""
elif (clicked := click_id({page}, {properties})) is not None:
    m[{key!r}] = f"fb.1.{{at * 1000}}.{{clicked}}"
    C[{position}] += 1
"""

    def _birthday(self, position: int) -> None:
        self._chain("x", self.paths["birthday"])
        sent = "m['db'] = h[0]" if self._conversions else "m['doby'], m['dobm'], m['dobd'] = h[1:]"
        known = "h[0]" if self._conversions else "h[1] and h[2] and h[3]"
        self._add(
            f"""
if x is not None:
    h = make_birthday(x, today) if x.__class__ is str else None
    if h is not None and {known}:
        {sent}
        C[{position}] += 1
    else:
        h = find(event, "birthday", None, today)
        if h is not None:
            m.update(h)
            C[{position}] += 1
"""
        )

    def _names(self, position: int) -> None:
        self._chain("x", self.paths["first_name"])
        self._chain("y", self.paths["last_name"])
        self._add("if x is None or y is None:")
        self._indent += 1
        self._chain("whole", self.paths["name"])
        self._add(
            """
if whole is not None:
    words = words_of(whole)
    if not words:
        if x is None: x = 0
        if y is None: y = 0
    else:
        if x is None: x = words[0]
        if y is None and len(words) > 1: y = words[1]
"""
        )
        self._indent -= 1
        for variable, field, key, offset in (("x", "first_name", "fn", 0), ("y", "last_name", "ln", 1)):
            self._add(
                f"""
if {variable} is not None:
    h = make_{field}({variable}) if {variable}.__class__ is str and len({variable}) < {MOST} else None
    if h is None:
        h = find(event, {field!r}, country, today)
    if h is not None:
        m[{key!r}] = h
        C[{position + offset}] += 1
"""
            )

    def _external_ids(self, position: int) -> None:
        context = self._container("context")
        extra = " or ".join(["True"] if self.paths["lead_id"] else [])
        condition = extra or f"{context}.get('externalId') is not None or event.get('externalId') is not None"
        self._add(
            f"""
if {condition}:
    h = find(event, "lead_id", country, today)
    if h is not None:
        m["lead_id"] = h
        C[{position}] += 1
"""
        )

    def _text(self, field: str) -> None:
        """A variable of the field's name with its text, or None."""
        self._chain(field, self.paths[field])
        self._add(
            f"""
if {field} is not None and ({field}.__class__ is not str or not 0 < len({field}) < {MOST} or {field}.isspace()):
    {field} = find_text(event, {field!r})
"""
        )

    def _custom(self) -> None:
        properties = self._container("properties")
        self._add(
            f"""
if {properties}:
    custom = {{
        key: value if value.__class__ in FLAT else scrubbed(value)
        for key, value in {properties}.items()
        if (verdict := VERDICTS[key]) is True or (verdict is not False and verdict(value))
    }}
else:
    custom = {{}}
"""
        )
        self._add('if own_source: custom.pop("action_source", None)')
        self._value()
        self._text("order_id")
        self._add(
            f"""
if order_id is not None and "orderId" in custom and text_of({properties}.get("order_id")) is None:
    del custom["orderId"]
"""
        )
        self._text("item_number")
        self._add(
            f"""
currency = {properties}.get("currency")
if currency.__class__ is not str or len(currency) != 3 or not currency.isascii() or not currency.isalpha():
    currency = currency.strip() if currency.__class__ is str else ""
    if len(currency) != 3 or not currency.isascii() or not currency.isalpha():
        NOTES["default_currency_used"] += 1
        currency = {self._destination.default_currency!r}
currency = currency.upper()
products = {properties}.get("products")
has_products = products.__class__ is dict or (products.__class__ is list and len(products) > 0)
contents = None
if has_products:
    contents = contents_of(products)
elif {properties}.get("product_id") is not None or {properties}.get("sku") is not None:
    single = {{key: {properties}.get(key) for key in ("product_id", "sku", "quantity", "brand", "category", "price")}}
    contents = contents_of(single)
    if contents:
        for key in single: custom.pop(key, None)
"""
        )
        self._add(
            """
content_type = None
if wanted.__class__ is dict:
    content_type = text_of(wanted.get("contentType"))
"""
        )
        if self._destination.category_to_content_type:
            self._add(
                f"""
if content_type is None:
    category = {properties}.get("category")
    content_type = CATEGORIES.get(category) if category.__class__ is str else None
    if content_type is None and has_products:
        product = products[0] if products.__class__ is list else products
        category = product.get("category") if product.__class__ is dict else None
        content_type = CATEGORIES.get(category) if category.__class__ is str else None
"""
            )

    def _value(self) -> None:
        default = self._destination.default_value
        default = int(default) if default.is_integer() else default
        self._add("amount = None")
        for number, path in enumerate(self.paths["value"]):
            parent, _, leaf = path.rpartition(".")
            if number:
                self._add("if amount is None:")
                self._indent += 1
            holder = self._container(parent)
            self._add(f"x = {holder}.get({leaf!r})")
            self._add("if x is not None and x != '':")
            self._add("    amount = number_of(x)")
            consumed = f"custom.pop({leaf!r}, None)" if parent == "properties" else "pass"
            self._add(f"    if amount is not None: {consumed}")
            self._add("    elif x.__class__ is not str or not x.isspace(): wrong()")
            if number:
                self._indent -= 1
        self._add("has_value = amount is not None")
        self._add("if not has_value:")
        self._add('    NOTES["default_value_used"] += 1')
        self._add(f"    amount = {default!r}")

    def _event(self) -> None:
        self._chain("page_url", self.paths["event_source_url"])
        properties = self._container("properties")
        self._add(
            f"""
if page_url is not None:
    own_url = page_url is {properties}.get("url")
    page_url = url(page_url) if page_url.__class__ is str and len(page_url) < 4096 else None
    if page_url is None:
        page_url = find_text(event, "event_source_url")
        own_url = page_url is not None and page_url == {properties}.get("url")
        page_url = url(page_url) if page_url is not None else None
    if own_url and page_url is not None: custom.pop("url", None)
tag = {properties}.get("upload_tag")
if tag is not None:
    tag = text_of(tag)
    if tag is not None:
        tag = tag.strip()
        if len(tag) > {LONGEST_TAG}:
            wrong()
            tag = None
"""
        )
        if self._destination.limited_data_usage:
            context = self._container("context")
            self._add(f"options = processing_options({context}.get('dataProcessingOptions'), wrong)")

    def _routes(self) -> None:
        if self._conversions:
            self._add('body = {"event_name": None, "event_time": at, "action_source": source}')
            self._optional("body", "event_id", "event_id")
            self._optional("body", "event_source_url", "page_url")
            self._options()
            self._add('body["user_data"] = m')
            self._add('body["custom_data"] = custom')
            self._add('custom["value"] = amount')
            self._add('custom["currency"] = currency')
            self._optional("custom", "order_id", "order_id")
            self._optional("custom", "item_number", "item_number")
            self._add('if contents: custom["contents"] = contents')
            holder = "custom"
        else:
            self._add('body = {"match_keys": m, "event_name": None, "event_time": at}')
            self._add('body["value"] = amount')
            self._add('body["currency"] = currency')
            self._optional("body", "order_id", "order_id")
            self._optional("body", "item_number", "item_number")
            self._add('if contents: body["contents"] = contents')
            self._optional("body", "action_source", "source")
            self._optional("body", "event_source_url", "page_url")
            self._options()
            self._add('if custom: body["custom_data"] = custom')
            holder = "body"
        rejects = self._destination.purchase_without_value == "reject"
        self._add("made = []")
        self._add("for standard, groups, targets in routes:")
        self._indent += 1
        self._add('if standard == "Purchase" and not has_value:')
        self._add(
            '    return rejected("purchase_without_value", "The purchase has no value.")'
            if rejects
            else '    NOTES["purchase_without_value"] += 1'
        )
        self._add(
            f"""
body["event_name"] = standard
{holder}["content_type"] = content_type or ("product_group" if groups and not has_products else "product")
encoded = dumps(body)
if len(encoded) > {self._max_event_bytes}:
    return rejected("event_too_large", f"Mapped, the event has {{len(encoded)}} bytes.")
for event_set, lane in targets:
    if tag is not None:
        lane = Lane({self._name!r}, event_set, tag)
    made.append(MappedEvent(lane, at + window, encoded))
"""
        )
        self._indent -= 1
        self._add("return made")

    def _optional(self, holder: str, key: str, variable: str) -> None:
        self._add(f"if {variable} is not None: {holder}[{key!r}] = {variable}")

    def _options(self) -> None:
        if self._destination.limited_data_usage:
            self._add("if options is not None: body.update(options)")

    def _find_text(self, wrong: Callable[[], None]) -> Callable[[Any, str], Any]:
        paths = self.paths

        def find_text(event: Any, field: str) -> Any:
            most = 4096 if field == "event_source_url" else MOST
            for _, text in candidates(event, paths[field], text_of, wrong):
                if len(text) <= most:
                    return text
                wrong()
            return None

        return find_text


Compiled = Callable[[Any, int], Mapped]


def compiled(writer: Writer) -> tuple[str, Compiled]:
    """The function's source, and the function."""
    source = writer.source()
    names = dict(writer.names)
    exec(compile(source, "<compiled mapper>", "exec"), names)  # noqa: S102 (its text is ours, its strings are repr'd)
    return source, names["map_event"]


def _lanes(
    destination: str, settings: DestinationSettings, routes: Sequence[Route]
) -> list[tuple[str, bool, list[tuple[str, Lane]]]]:
    """Routes as the function walks them: standard event, content type rule, event sets with their usual lane."""
    return [
        (
            route.standard,
            route.group_without_products,
            [(one, Lane(destination, one, settings.upload_tag)) for one in dict.fromkeys(route.event_sets)],
        )
        for route in routes
        if route.event_sets
    ]


def _unmapped(name: str, settings: DestinationSettings) -> Callable[[str], Rejection]:
    known = [event for event, routes in routes_of(settings).items() if any(route.event_sets for route in routes)]

    def unmapped(event: str) -> Rejection:
        close = resemblance(event, known)
        hint = f" (did you mean {close!r}?)" if close else ""
        return rejected("unmapped_event", f"{event[:100]!r} has no event set in destination {name}{hint}.")

    return unmapped


def _odd(wrong: Callable[[], None]) -> Callable[[Any], dict[str, Any]]:
    empty: dict[str, Any] = {}

    def odd(value: Any) -> dict[str, Any]:
        if not is_blank(value):
            wrong()
        return empty

    return odd


def _click_id(page: dict[str, Any], properties: dict[str, Any]) -> str | None:
    """The `fbclid` in the query of the page's URL, its case kept."""
    address = page.get("url")
    if address is None:
        address = properties.get("url")
    if address.__class__ is not str or "fbclid=" not in address or len(address) > 4096:
        return None
    query = address.partition("?")[2].partition("#")[0]
    for part in query.split("&"):
        if part.startswith("fbclid=") and part != "fbclid=":
            return part.removeprefix("fbclid=")
    return None
