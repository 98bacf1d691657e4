"""A match key found the patient way: every path walked, and each step remembered.

The compiled mapper comes here for what its fast path does not read: blanks before a value, lists, numbers, objects.
`seal` and `explain` come here for everything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.mapping.fields import BY_NAME, IDENTITY
from gateway.mapping.json_path import at, candidates, is_blank, text_of
from gateway.mapping.rules import Birthday, Rules, words_of

EXTERNAL_IDS = ("context.externalId", "externalId")
BIRTHDAY_KEYS = ("db", "doby", "dobm", "dobd")
"""Of the object that a sealed event has for a birthday."""
LAST_RESORT = "context.externalId.0.id"
"""Where an email is looked for at last; only an address counts there."""


@dataclass(frozen=True, slots=True)
class Extraction:
    """What became of one match key."""

    path: str | None = None
    """The source path that won; None: nothing present."""
    raw: Any = None
    sent: Any = None
    """What goes into the upload; None: dropped, or absent."""
    cause: str | None = None
    """Why it was dropped."""


ABSENT = Extraction()


class Extractor:
    """Finds the match keys of one destination. `paths` has the settings' extra ones at their end."""

    def __init__(
        self,
        rules: Rules,
        paths: Mapping[str, Sequence[str]],
        *,
        count_wrong_type: Callable[[], None] = lambda: None,
        dropped: Callable[[str, str], None] = lambda _field, _cause: None,
    ) -> None:
        self._rules = rules
        self._paths = paths
        self._wrong = count_wrong_type
        self._dropped = dropped

    def find(self, event: Any, field: str, country: str | None, today: int) -> Extraction:
        """One match key. `country` is the event's own, as `country` gives it."""
        found = self._find(event, field, country, today)
        if found.cause:
            self._dropped(field, found.cause)
        return found

    def sent(self, event: Any, field: str, country: str | None, today: int) -> Any:
        """What goes into the upload, or None."""
        return self.find(event, field, country, today).sent

    def country(self, event: Any) -> tuple[str | None, str | None]:
        """What is sent of the country, and its code for the fields that are read with it."""
        for _, text in self._texts(event, "country"):
            sent, code = self._rules.country(text) if len(text) <= 256 else (None, None)
            if sent is None:
                self._dropped("country", self._rules.cause("country", text, None))
            return sent, code
        return None, None

    def code(self, event: Any) -> str | None:
        """The country that other fields are read with, without counting anything."""
        for path in self._paths["country"]:
            if (text := text_of(at(event, path))) is not None:
                return self._rules.country(text)[1] if len(text) <= 256 else None
        return None

    def everything(self, event: Any, today: int) -> dict[str, Extraction]:
        """Every match key of the event, by field."""
        country = self.code(event)
        return {field.name: self.find(event, field.name, country, today) for field in IDENTITY}

    def _find(self, event: Any, field: str, country: str | None, today: int) -> Extraction:
        match field:
            case "birthday":
                return self._birthday(event, today)
            case "lead_id":
                return self._lead_id(event)
            case "first_name" | "last_name":
                return self._name(event, field)
            case _ if BY_NAME[field].many:
                return self._many(event, field, country)
            case _:
                return self._one(event, field, country)

    def _texts(self, event: Any, field: str) -> Any:
        return candidates(event, self._paths[field], text_of, self._wrong)

    def _one(self, event: Any, field: str, country: str | None) -> Extraction:
        for path, text in self._texts(event, field):
            return self._made(field, path, text, country)
        return ABSENT

    def _made(self, field: str, path: str, text: str, country: str | None) -> Extraction:
        sent = self._rules.text(field, text, country)
        return Extraction(path, text, sent, None if sent is not None else self._rules.cause(field, text, country))

    def _many(self, event: Any, field: str, country: str | None) -> Extraction:
        def texts(value: Any) -> list[str] | None:
            values = value if value.__class__ is list else [value]
            return [text for one in values if (text := text_of(one)) is not None] or None

        for path, given in candidates(event, self._paths[field], texts, self._wrong):
            sent = []
            causes = []
            for text in given:
                one = self._rules.text(field, text, country)
                if one is None:
                    causes.append(self._rules.cause(field, text, country))
                elif one not in sent:
                    sent.append(one)
            return Extraction(path, given, sent or None, causes[0] if causes else None)
        if field == "email" and (text := self._last_resort(event)) is not None:
            return Extraction(LAST_RESORT, text, [self._rules.email(text)])
        return ABSENT

    def _last_resort(self, event: Any) -> str | None:
        entries = at(event, EXTERNAL_IDS[0])
        if entries.__class__ is list and entries and entries[0].__class__ is dict:
            text = text_of(entries[0].get("id"))
            if text and "@" in text and len(text) <= 256 and self._rules.email(text):
                return text
        return None

    def _name(self, event: Any, field: str) -> Extraction:
        explicit = self._one(event, field, None)
        if explicit.path is not None:
            return explicit
        for path, text in candidates(event, self._paths["name"], text_of, self._wrong):
            words = words_of(text)
            if field == "last_name" and len(words) < 2:
                return ABSENT if words else Extraction(path, text, None, self._rules.cause(field, text, None))
            if not words:
                return Extraction(path, text, None, self._rules.cause(field, text, None))
            return self._made(field, path, words[0] if field == "first_name" else words[-1], None)
        return ABSENT

    def _birthday(self, event: Any, today: int) -> Extraction:
        def usable(value: Any) -> Any:
            if value.__class__ is dict:
                return value if any(key in value for key in BIRTHDAY_KEYS) else None
            return text_of(value)

        for path, value in candidates(event, self._paths["birthday"], usable, self._wrong):
            hashes = self._rules.birthday(value, today)
            if hashes is None:
                text = value if value.__class__ is str else ""
                return Extraction(path, value, None, self._rules.cause("birthday", text, None))
            sent = self.birthday_keys(hashes)
            return Extraction(path, value, sent or None, None if sent else "malformed")
        return ABSENT

    def birthday_keys(self, hashes: Birthday) -> dict[str, str]:
        """The birthday's keys in the dialect, those that are known."""
        whole, year, month, day = hashes
        if self._rules.dialect == "conversions":
            return {"db": whole} if whole else {}
        return {key: part for key, part in (("doby", year), ("dobm", month), ("dobd", day)) if part}

    def _lead_id(self, event: Any) -> Extraction:
        for path in EXTERNAL_IDS:
            entries = at(event, path)
            if entries.__class__ is not list:
                if not is_blank(entries):
                    self._wrong()
                continue
            for entry in entries:
                if entry.__class__ is dict and entry.get("type") == "LeadId":
                    text = text_of(entry.get("id"))
                    if text is not None:
                        return self._made("lead_id", path, text, None)
        for path, text in self._texts(event, "lead_id"):
            return self._made("lead_id", path, text, None)
        return ABSENT
