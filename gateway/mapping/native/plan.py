"""The plan of one destination as data for the extension, and the functions that the extension calls.

The plan is made from the registry of fields and the compiler's plan. A new field, path or setting value needs no change
in C; a new normaliser is called in Python until C has one of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from types import ModuleType
from typing import Any

import orjson

from gateway.mapping import normalise
from gateway.mapping.compiler import Plan
from gateway.mapping.compiler.fast_path import MAX_DROPPED
from gateway.mapping.compiler.routing import is_text as is_text_field
from gateway.mapping.contents import CONTENT_KEYS, DELIVERY_CATEGORIES, SINGLE_PRODUCT
from gateway.mapping.coverage import CAUSES
from gateway.mapping.custom_properties import (
    IDENTITY_PROPERTIES,
    TYPED,
    Screen,
    is_number,
    is_object,
    is_text,
    is_texts,
    not_passed_on,
)
from gateway.mapping.dialects import (
    ACTION_SOURCES,
    FUTURE_TOLERANCE,
    LONG_WINDOW,
    REFUSED_IDENTITIES,
    SHORT_WINDOW,
)
from gateway.mapping.event_values import web_address
from gateway.mapping.fields import (
    CONVERTED,
    COUNTRY,
    CUSTOM,
    EVENT,
    EXTERNAL_IDS,
    IDENTITY,
    NAME,
    Field,
    Hashing,
    MatchKey,
    Special,
    is_derived,
)
from gateway.mapping.personal import without_personal_text
from gateway.mapping.phone import completeness, phone
from gateway.mapping.routes import DEFAULT_STANDARD_EVENT, switches_of
from gateway.model import Lane, MappedRun

CAUSE_NUMBERS = {cause: number for number, cause in enumerate(CAUSES)}
ABSENT = -1
"""The answer for a value that is not sent and not counted."""
MAX_LANES = 1024
"""Lanes with an upload tag that are kept, so that equal ones are one object."""
CRM_PROPERTIES = frozenset({"event_source", "lead_event_source"})
"""Properties that `crm` replaces where they are, which only the Python path does."""

KINDS: Mapping[Callable[..., Any], str] = {
    normalise.email: "email",
    phone: "phone",
    normalise.name: "name",
    normalise.city: "city",
    normalise.zip_code: "zip",
    normalise.trimmed: "trimmed",
    normalise.madid: "madid",
    normalise.ip_address: "ip",
}
"""Normalisers that the extension has."""

TYPES: Mapping[Callable[[Any], bool], str] = {
    is_text: "TYPE_TEXT",
    is_number: "TYPE_NUMBER",
    is_texts: "TYPE_LIST",
    is_object: "TYPE_OBJECT",
}
"""Forms of values that Meta accepts under some names, and the types that the extension passes on."""


class UnsuitableError(Exception):
    """The settings of a destination for which the extension cannot map. The message is the reason."""


class Nodes:
    """The objects on the source paths: their keys, and the inputs for which the values are."""

    def __init__(self, max_levels: int) -> None:
        self._max_levels = max_levels
        self._keys: list[dict[str, tuple[int, list[tuple[int, int]]]]] = [{}]

    def add(self, path: str, number: int, rank: int) -> None:
        """Add a path of an input. The path with the lowest rank is read first."""
        *parents, leaf = path.split(".")
        if len(parents) >= self._max_levels:
            raise UnsuitableError(f"the path {path!r} of `extra_fields` has too many steps")
        node = 0
        for parent in parents:
            child, uses = self._keys[node].setdefault(parent, (-1, []))
            if child < 0:
                child = len(self._keys)
                self._keys.append({})
                self._keys[node][parent] = (child, uses)
            node = child
        self._keys[node].setdefault(leaf, (-1, []))[1].append((number, rank))

    def data(self) -> tuple[Any, ...]:
        """The nodes as the extension reads them."""
        return tuple(
            tuple((key.encode(), child, tuple(uses)) for key, (child, uses) in node.items()) for node in self._keys
        )


class NativePlan:
    """The plan of one destination for the extension. Raises `UnsuitableError`."""

    def __init__(self, native: ModuleType, plan: Plan) -> None:
        self._native = native
        self._plan = plan
        self._settings = plan.destination
        self._inputs = {name: number for number, name in enumerate(native.INPUTS)}
        self._nodes = Nodes(native.MAX_LEVELS)
        self._screen = Screen(self._settings.allow_properties)
        self._replaced = not_passed_on(plan.dialect)
        self._personal = self._personal_properties()
        self.fields = [field for field in IDENTITY if field.keys(plan.dialect) and field.special is not Special.LEAD_ID]
        """Fields of the identity. The position of a field is its number in the extension."""
        if len(self.fields) > native.MAX_FIELDS:
            raise UnsuitableError("there are more match keys than the extension can count")

    def data(self) -> tuple[Any, ...]:
        """The plan as the extension reads it, see `plan_read` in src/plan.c."""
        self._add_inputs()
        fields = tuple(map(self._field, self.fields))
        texts = tuple(self._text(field) for field in (*EVENT, *CUSTOM) if is_text_field(field, self._plan))
        events, lanes = self._events()
        categories = self._settings.category_to_content_type
        if len(self._inputs) > self._native.MAX_INPUTS or len(texts) > self._native.MAX_TEXTS:
            raise UnsuitableError("there are more fields than the extension can read")
        return (
            self._scalars(),
            self._nodes.data(),
            fields,
            texts,
            events,
            lanes,
            _texts(ACTION_SOURCES),
            tuple(self._mask(keys) for keys in REFUSED_IDENTITIES) if self._plan.is_conversions else (),
            _texts(categories),
            tuple(map(_json, (*categories.values(), "product", "product_group"))),
            _texts(self._native.PRODUCT_PARTS),
            tuple(map(self._product_name, self._native.PRODUCT_PARTS)),
            _texts(DELIVERY_CATEGORIES),
            _texts(self._settings.consent.categories if self._settings.consent else ()),
        )

    def questions(self) -> tuple[Callable[..., Any], ...]:
        """The functions that the extension calls, in the order of `questions` in src/mapping.h."""
        return (
            self._value,
            lambda beginning, length: completeness(beginning, length) is True,
            self._verdict,
            without_personal_text,
            web_address,
            self._plan.counters.count_left_out,
            self.count_seen,
            lru_cache(MAX_LANES)(self._lane),
            MappedRun,
        )

    def count_seen(self, mask: int, events: int = 1) -> None:
        """Count events with the match keys of a mask: bit `n` is that of `fields[n]`."""
        shape = tuple(
            key for number, field in enumerate(self.fields) if mask >> number & 1 for key in self._keys(field)
        )
        self._plan.counters.seen[shape] += events

    def _personal_properties(self) -> frozenset[str]:
        """Names of properties that the settings read as identities, which are never passed on."""
        paths = [path.split(".")[1:] for path in self._plan.personal_paths if path.startswith("properties.")]
        if any(len(steps) > 1 for steps in paths):
            raise UnsuitableError("`extra_fields` reads an identity inside a property")
        return frozenset(steps[0] for steps in paths)

    # Inputs and their source paths

    def _input(self, name: str) -> int:
        """The number of an input. A name that the extension does not know gets one of its own."""
        return self._inputs.setdefault(name, len(self._inputs))

    def _add(self, name: str, paths: Iterable[str]) -> int:
        number = self._input(name)
        for rank, path in enumerate(paths):
            self._nodes.add(path, number, rank)
        return number

    def _add_inputs(self) -> None:
        """Add the paths of everything that is not a match key or a text."""
        paths = self._plan.paths
        for name in ("event_time", "action_source", "event_source_url", "upload_tag", "value", "currency", "contents"):
            self._add(name, paths[name])
        self._add("event_name", ["event"])
        self._add("properties", ["properties"])
        self._add("switch", [f"integrations.{name}" for name in switches_of(self._plan.dialect)])
        self._add("all_switch", ["integrations.All"])
        self._add("context_url", ["context.page.url"])
        self._add("property_url", ["properties.url"])
        self._add("whole_name", paths[NAME.name])
        self._add("country", paths[COUNTRY.name])
        self._add("category", ["properties.category"])
        self._add("product_id", ["properties.product_id"])
        self._add("sku", ["properties.sku"])
        if self._settings.limited_data_usage:
            self._add("processing_options", ["context.dataProcessingOptions"])
        if self._settings.consent is not None:
            self._add("consent_management", ["context.consentManagement"])
            self._add("consent", ["context.consent"])
        self._add("fall_back", EXTERNAL_IDS)
        self._add("fall_back", paths["lead_id"])
        if self._plan.is_conversions:
            for field in CONVERTED:
                self._add("fall_back", paths[field.name])

    # Match keys

    def _field(self, field: MatchKey) -> tuple[int, int, int, int, tuple[bytes, ...]]:
        if field.derived_from is not None or field is COUNTRY:
            number = self._inputs[field.derived_from or field.name]
        else:
            number = self._add(field.name, self._plan.paths[field.name])
        names = tuple(map(_name, field.keys(self._plan.dialect)))
        return self._native.KINDS.index(self._kind(field)), number, self._flags(field), field.max_length, names

    def _kind(self, field: MatchKey) -> str:
        rules = self._plan.rules
        if field.special is Special.COUNTRY:
            return "country"
        if field.is_verbatim:
            return "verbatim"
        if is_derived(field) or (rules.is_hashed(field) and not rules.hashing):
            return "ask"
        if field.special is Special.BIRTHDAY:
            return "birthday"
        if field.case_as_set and rules.lowers_external_id:
            return "lower"
        normaliser = field.normalise_by_country or field.normalise
        return KINDS.get(normaliser, "ask") if normaliser is not None else "ask"

    def _flags(self, field: MatchKey) -> int:
        native, rules = self._native, self._plan.rules
        is_hashed = rules.is_hashed(field)
        by_country = field.normalise_by_country is not None or field.special is Special.BIRTHDAY
        source = next(other for other in IDENTITY if other.name == (field.derived_from or field.name))
        flags = {
            native.FIELD_HASHED: is_hashed,
            native.FIELD_LISTED: field.many or (self._plan.is_conversions and field.list_in_conversions),
            native.FIELD_INTEGER: field.often_a_number,
            native.FIELD_BY_COUNTRY: by_country,
            native.FIELD_VARIANTS: field.variant is not None and rules.has_variants,
            native.FIELD_FIRST_WORD: source.special is Special.FIRST_WORD,
            native.FIELD_LAST_WORD: source.special is Special.LAST_WORD,
            native.FIELD_CLICK_ID: field.special is Special.CLICK_ID,
            native.FIELD_MAY_BE_HASH: (is_hashed or field.hashing is Hashing.AS_SET) and not is_derived(field),
        }
        return sum(flag for flag, is_set in flags.items() if is_set)

    def _value(self, number: int, text: str, country: str | None) -> Any:
        """The value to send for a text.

        A text or several, the number of the cause for which it was dropped, `ABSENT`, or None: the Python path maps the
        event. For the country, the value and the code with which other fields are normalised.
        """
        field, rules = self.fields[number], self._plan.rules
        if field is COUNTRY:
            value, code = rules.countries[text]
            return value if value is not None else self._dropped(field, text, None), code
        if field.special is Special.BIRTHDAY:
            return (rules.us_birthdays if country == "US" else rules.birthdays)[text]
        arguments = (text,) if field.normalise_by_country is None else (text, country)
        value = rules.functions[field.name](*arguments)
        if value is not None:
            return value
        if is_derived(field):
            return ABSENT
        return None if field.special in {Special.FIRST_WORD, Special.LAST_WORD} else self._dropped(field, text, country)

    def _dropped(self, field: MatchKey, text: str, country: str | None) -> int | None:
        """The number of the cause for which a text has no usable value; None for one that the Python path looks at."""
        if text.isspace() or not 0 < len(text) <= MAX_DROPPED:
            return None
        return CAUSE_NUMBERS[self._plan.rules.cause(field, text, country)]

    # The event and the sale

    def _text(self, field: Field) -> tuple[int, int, int, bytes]:
        [key] = field.keys(self._plan.dialect)
        flags = (self._native.TEXT_SCREENED if field.screened else 0) | (
            self._native.TEXT_CUSTOM if field in CUSTOM else 0
        )
        return self._add(field.name, self._plan.paths[field.name]), flags, field.max_length, _name(key)

    def _scalars(self) -> tuple[Any, ...]:
        settings, native, plan = self._settings, self._native, self._plan
        flags = {
            native.PLAN_CONVERSIONS: plan.is_conversions,
            native.PLAN_CRM: settings.crm,
            native.PLAN_LIMITED_DATA: settings.limited_data_usage,
            native.PLAN_CONSENT: settings.consent is not None,
            native.PLAN_NEEDS_VALUE: settings.purchase_without_value == "reject",
            native.PLAN_MONTH_FIRST: plan.rules.month_first,
            native.PLAN_CURRENCY_PATHS: len(plan.paths["currency"]) > 1,
        }
        crm = {"event_source": "crm", "lead_event_source": settings.lead_event_source} if settings.crm else {}
        value = settings.default_value
        source = settings.action_source or ("physical_store" if plan.is_conversions else "")
        user_agents = [field for field in self.fields if "client_user_agent" in field.keys(plan.dialect)]
        return (
            sum(flag for flag, is_set in flags.items() if is_set),
            plan.max_event_bytes,
            (plan.rules.default_country or "").encode(),
            _json(settings.default_currency),
            _json(int(value) if value.is_integer() else value),
            orjson.dumps(crm)[1:-1],
            source.encode(),
            b"system_generated" if settings.crm else b"",
            b"physical_store",
            b"website",
            b"app",
            settings.upload_tag.encode(),
            FUTURE_TOLERANCE,
            LONG_WINDOW,
            SHORT_WINDOW,
            sum(1 << self.fields.index(field) for field in user_agents),
        )

    def _events(self) -> tuple[tuple[Any, ...], tuple[Lane, ...]]:
        """The routes of each event name, those of all other names first, and the lanes of their targets."""
        native, lanes = self._native, dict[Lane, int]()
        events = []
        named = {"": self._plan.targets[DEFAULT_STANDARD_EVENT], **self._plan.targets}
        for name, routes in named.items():
            targets = []
            for standard, group_without_products, event_sets in routes:
                flags = (native.ROUTE_PURCHASE if standard == "Purchase" else 0) | (
                    native.ROUTE_GROUP if group_without_products else 0
                )
                numbers = tuple(lanes.setdefault(lane, len(lanes)) for _, lane in event_sets)
                targets.append((_json(standard), flags, numbers))
            events.append((name.encode(), tuple(targets)))
        self._lanes = tuple(lanes)
        return tuple(events), self._lanes

    def _lane(self, target: int, tag: str) -> Lane:
        return self._lanes[target]._replace(upload_tag=tag)

    def _mask(self, keys: Iterable[str]) -> int:
        refused = set(keys)
        return sum(1 << number for number, field in enumerate(self.fields) if refused.issuperset(self._keys(field)))

    def _keys(self, field: MatchKey) -> Sequence[str]:
        return field.keys(self._plan.dialect)

    def _product_name(self, part: str) -> bytes:
        """The key of a product's part in an upload; empty for one that is not sent itself."""
        is_conversions = self._plan.is_conversions
        if part not in dict(CONTENT_KEYS) or (part == "delivery_category" and not is_conversions):
            return b""
        return _name("item_price" if part == "price" and is_conversions else part)

    def _verdict(self, name: str) -> int:
        """What becomes of a property with this name, see `enum verdict` in src/mapping.h."""
        native, types = self._native, self._native.TYPE_ANY
        inner_left_out = self._screen.is_left_out(name)
        if name in self._replaced:
            action = native.VERDICT_REPLACED
        elif inner_left_out or name in self._personal:
            action = native.VERDICT_REPLACED if name in IDENTITY_PROPERTIES else native.VERDICT_LEFT_OUT
        elif self._settings.crm and name in CRM_PROPERTIES:
            action = native.VERDICT_FALL_BACK
        else:
            action = native.VERDICT_PASSED
        flags = 0
        if action == native.VERDICT_PASSED and (form := TYPED.get(name)):
            if form in TYPES:
                types = getattr(native, TYPES[form])
                flags |= native.VERDICT_TEXTS if form is is_texts else 0
            else:
                action = native.VERDICT_FALL_BACK
        flags |= native.VERDICT_UNSCREENED if name in self._screen.allowed else 0
        flags |= native.VERDICT_SINGLE_PRODUCT if name in SINGLE_PRODUCT else 0
        flags |= native.VERDICT_INNER_LEFT_OUT if inner_left_out else 0
        return int(action | flags | types)


def _json(value: Any) -> bytes:
    return orjson.dumps(value)


def _name(key: str) -> bytes:
    """A key as the extension puts it."""
    return _json(key) + b":"


def _texts(texts: Iterable[str]) -> tuple[bytes, ...]:
    return tuple(text.encode() for text in texts)
