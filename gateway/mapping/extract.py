"""Extraction of the match keys from a source event: which path has the value, and which value is sent.

The slow path, redaction and `explain` use the extractor. The fast path contains the same logic inline, for events in
which every value has its usual form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from gateway.mapping.fields import COUNTRY, EXTERNAL_IDS, FIRST_EXTERNAL_ID, IDENTITY, NAME, Field, MatchKey, Special
from gateway.mapping.json_path import MAX_LONG_TEXT, at, candidates, is_blank, text_of
from gateway.mapping.normalise import given_hash
from gateway.mapping.rules import BIRTHDAY_KEYS, Rules, today_of, words_of
from gateway.model import Dialect, JsonObject


class Extraction(NamedTuple):
    """The result for one match key."""

    path: str | None = None
    """The source path with the value; None if no value is present."""
    raw: Any = None
    """The value. For a part of `name`, that part."""
    sent: Any = None
    """The value to send; None if it is absent or was dropped. For a birthday, an object of its keys."""
    cause: str | None = None
    """The cause for which it was dropped, a key of `coverage.CAUSES`. With a list of values, it may have been one."""


ABSENT = Extraction()


class Extractor:
    """Extracts the match keys for one destination.

    `paths` are the source paths by field, the additional ones of the settings included. `count_wrong_type` is called
    for each value of the wrong type, `count_dropped` with the field and the cause of each value that was dropped.
    """

    def __init__(
        self,
        rules: Rules,
        paths: Mapping[str, Sequence[str]],
        *,
        count_wrong_type: Callable[[], None] = lambda: None,
        count_dropped: Callable[[str, str], None] = lambda _field, _cause: None,
    ) -> None:
        self._rules = rules
        self._paths = paths
        self._count_wrong_type = count_wrong_type
        self._count_dropped = count_dropped
        self._conversions = rules.dialect is Dialect.CONVERSIONS
        self._sent_fields = [field for field in IDENTITY if field.keys(rules.dialect)]
        self._keys = {field.name: field.keys(rules.dialect)[0] for field in self._sent_fields}
        self._readers = {field.name: self._reader(field) for field in IDENTITY}

    def identity(self, event: Any, event_time: int, now: int) -> JsonObject:
        """The match keys of an event as an upload has them: `user_data` or `match_keys`. Times are in unix seconds."""
        keys: JsonObject = {}
        for field, found in self.extract(event, self._sent_fields, today_of(now // 86400)):
            sent = found.sent
            if sent is None and found.path is None and field.special is Special.CLICK_ID:
                click = click_id(at(event, "context.page.url"), at(event, "properties.url"))
                sent = f"fb.1.{event_time * 1000}.{click}" if click is not None else None
            if sent is None:
                continue
            if field.special is Special.BIRTHDAY:
                keys.update(sent)
            else:
                keys[self._keys[field.name]] = [sent] if self._conversions and field.list_in_conversions else sent
        return keys

    def extract(self, event: Any, fields: Iterable[MatchKey], today: int) -> Iterator[tuple[MatchKey, Extraction]]:
        """Each of the fields with its result, in the order of `IDENTITY`. `today` is the number YYYYMMDD.

        A derived field needs the field that it is derived from in `fields`.
        """
        country_found = self._first(event, COUNTRY, None)
        country = self._country_code(country_found)
        sources: dict[str, Extraction] = {}
        for field in fields:
            if field is COUNTRY:
                found = country_found
            elif field.derived_from is not None:
                found = self._derived(field, sources[field.derived_from])
            else:
                found = sources[field.name] = self._readers[field.name](event, field, country, today)
            if found.cause:
                self._count_dropped(field.name, found.cause)
            yield field, found

    def country(self, event: Any) -> str | None:
        """The event's country, as the code with which other fields are normalised."""
        return self._country_code(self._first(event, COUNTRY, None))

    def _country_code(self, found: Extraction) -> str | None:
        text = found.raw
        return self._rules.countries[text][1] if text is not None and len(text) <= COUNTRY.max_length else None

    def _reader(self, field: MatchKey) -> Callable[[Any, MatchKey, str | None, int], Extraction]:
        """The method that reads a field. All take event, field, country and today, whether they need them or not."""
        match field.special:
            case Special.BIRTHDAY:
                return self._birthday
            case Special.LEAD_ID:
                return self._lead_id
            case Special.FIRST_WORD | Special.LAST_WORD:
                return self._word_of_name
            case Special.EMAIL:
                return self._email
            case _:
                return self._list if field.many else self._first

    def _values(self, event: Any, field: Field) -> Iterator[tuple[str, Any]]:
        """Each path with a text. A field with a variant may also have a list of hashes: those of a redacted event."""
        usable = _text_or_hashes if isinstance(field, MatchKey) and field.variant else text_of
        return candidates(event, self._paths[field.name], usable, self._count_wrong_type)

    def _first(self, event: Any, field: MatchKey, country: str | None, _today: int = 0) -> Extraction:
        for path, value in self._values(event, field):
            if value.__class__ is list:
                return Extraction(path, value, self._rules.given_hashes(value))
            return self._converted(field, path, value, country)
        return ABSENT

    def _converted(self, field: MatchKey, path: str, text: str, country: str | None) -> Extraction:
        sent = self._rules.convert(field, text, country)
        return Extraction(path, text, sent, None if sent is not None else self._rules.cause(field, text, country))

    def _list(self, event: Any, field: MatchKey, country: str | None, _today: int = 0) -> Extraction:
        def texts(value: Any) -> list[str] | None:
            values = value if value.__class__ is list else [value]
            return [text for each in values if (text := text_of(each)) is not None] or None

        for path, given in candidates(event, self._paths[field.name], texts, self._count_wrong_type):
            sent = []
            causes = []
            for text in given:
                value = self._rules.convert(field, text, country)
                if value is None:
                    causes.append(self._rules.cause(field, text, country))
                elif value not in sent:
                    sent.append(value)
            return Extraction(path, given, sent or None, causes[0] if causes else None)
        return ABSENT

    def _email(self, event: Any, field: MatchKey, country: str | None, _today: int) -> Extraction:
        found = self._list(event, field, country)
        if found.path is not None:
            return found
        entries = at(event, EXTERNAL_IDS[0])
        if entries.__class__ is list and entries and entries[0].__class__ is dict:
            text = text_of(entries[0].get("id"))
            if text and "@" in text and (sent := self._rules.convert(field, text, None)):
                return Extraction(FIRST_EXTERNAL_ID, text, [sent])
        return ABSENT

    def _word_of_name(self, event: Any, field: MatchKey, _country: str | None, _today: int) -> Extraction:
        explicit = self._first(event, field, None)
        if explicit.path is not None:
            return explicit
        for path, text in self._values(event, NAME):
            words = words_of(text)
            if not words:
                return Extraction(path, text, None, self._rules.cause(field, text, None))
            if field.special is Special.FIRST_WORD:
                return self._converted(field, path, words[0], None)
            return self._converted(field, path, words[1], None) if len(words) > 1 else ABSENT
        return ABSENT

    def _derived(self, field: MatchKey, source: Extraction) -> Extraction:
        if source.sent is None or source.raw.__class__ is list:
            return ABSENT
        return Extraction(source.path, source.raw, self._rules.convert(field, source.raw, None))

    def _birthday(self, event: Any, field: MatchKey, country: str | None, today: int) -> Extraction:
        def usable(value: Any) -> Any:
            if value.__class__ is dict:
                return value if any(key in value for key in BIRTHDAY_KEYS) else None
            return text_of(value)

        for path, value in candidates(event, self._paths[field.name], usable, self._count_wrong_type):
            hashes = self._rules.birthday(value, today, country)
            if hashes is None:
                text = value if value.__class__ is str else ""
                return Extraction(path, value, None, self._rules.cause(field, text, None))
            whole, *parts = hashes
            keys = zip(field.keys(self._rules.dialect), [whole] if self._conversions else parts, strict=True)
            sent = {key: part for key, part in keys if part}
            return Extraction(path, value, sent or None, None if sent else "malformed")
        return ABSENT

    def _lead_id(self, event: Any, field: MatchKey, _country: str | None, _today: int) -> Extraction:
        for path in EXTERNAL_IDS:
            entries = at(event, path)
            if entries.__class__ is not list:
                if not is_blank(entries):
                    self._count_wrong_type()
                continue
            for entry in entries:
                if entry.__class__ is dict and entry.get("type") == "LeadId":
                    text = text_of(entry.get("id"))
                    if text is not None:
                        return self._converted(field, path, text, None)
        return self._first(event, field, None)


def _text_or_hashes(value: Any) -> str | list[str] | None:
    if value.__class__ is not list:
        return text_of(value)
    return value if value and all(entry.__class__ is str and given_hash(entry) for entry in value) else None


def click_id(page_url: Any, property_url: Any) -> str | None:
    """The `fbclid` in the query of the page's URL, unchanged. The first of the two that is not null is read."""
    url = page_url if page_url is not None else property_url
    if url.__class__ is not str or "fbclid=" not in url or len(url) > MAX_LONG_TEXT:
        return None
    query = url.partition("?")[2].partition("#")[0]
    for part in query.split("&"):
        if part.startswith("fbclid=") and part != "fbclid=":
            return str(part.removeprefix("fbclid="))
    return None
