"""A sealed event maps as its original does, holds nothing personal, and is not changed by sealing it again."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.mapping.builders import NOW, mapper, sale
from tests.mapping.comparison import EVENTS, SECONDS, case, property_settings, seen, smallest
from tests.mapping.reference_tables import PATHS

pytestmark = pytest.mark.timeout(SECONDS)
SEEDS = st.integers(0, 2**48)
TELLTALES = (
    *("John_Smith", "jürgen", "ｊｏｈｎ", "a.b+c", "o'neil", "Ann@example.com", "650 555", "555-1212", "20 7946"),
    *("Valéry", "O'Brien", "Jean-Luc", "Mary", "İpek", "Groß", "ＳＭＩＴＨ", "Keener", "Souza", "Tolkien", "정"),
    *("Paris", "New York", "São Paulo", "Saint-Jean", "القاهرة", "John's", "California", "Bayern", "carolina"),
    *("94035-1234", "M1 1AE", "K1A 0B1", "100-0001"),
)
"""BatchSplitter of the personal values that `strategies` makes, and of nothing else in it."""


FREE = {"customer_mail", "who", "given", "store"}
"""Properties that hold an email, a name or a city under names that do not say so."""


def without_free_properties(event: Any) -> Any:
    properties = event.get("properties") if isinstance(event, dict) else None
    if not isinstance(properties, dict):
        return event
    return event | {"properties": {key: one for key, one in properties.items() if key not in FREE}}


@property_settings(EVENTS // 2)
@given(SEEDS)
def test_a_sealed_event_gives_the_upload_that_the_original_gives(seed: int) -> None:
    made = case(seed)

    def differs(event: Any) -> bool:
        redacted = made.mapper.redact(event, NOW)
        return redacted is not None and seen(made.mapper.map(orjson.loads(redacted), NOW)) != seen(
            made.mapper.map(event, NOW)
        )

    for event in made.events:
        if differs(event):
            least = smallest(event, differs)
            redacted = made.mapper.redact(least, NOW)
            expected = seen(made.mapper.map(least, NOW))
            got = seen(made.mapper.map(orjson.loads(redacted or b""), NOW))
            pytest.fail(
                f"seed {seed}\n{made.tree}\nevent  {least}\nsealed {redacted!r}\nexpected {expected}\ngot      {got}"
            )


@property_settings(EVENTS // 4)
@given(SEEDS)
def test_sealing_a_sealed_event_changes_nothing(seed: int) -> None:
    made = case(seed)

    for event in made.events:
        redacted = made.mapper.redact(event, NOW)
        if redacted is not None:
            assert made.mapper.redact(orjson.loads(redacted), NOW) == redacted, f"seed {seed}\n{made.tree}\n{event}"


@property_settings(EVENTS // 4)
@given(SEEDS)
def test_a_sealed_event_holds_nothing_personal(seed: int) -> None:
    made = case(seed)

    def tells(event: Any) -> bool:
        text = (made.mapper.redact(event, NOW) or b"").decode()
        return any(telltale in text for telltale in TELLTALES)

    for event in map(without_free_properties, made.events):
        if tells(event):
            least = smallest(event, tells)
            pytest.fail(f"seed {seed}\nsettings {made.tree}\nevent {least}\nsealed {made.mapper.redact(least, NOW)!r}")


PERSONAL_FIELDS = {
    "email": "Zoe.Quartz@example.com",
    "phone": "+1 650 555 1212",
    "gender": "female",
    "birthday": "16, 02, 1997",
    "first_name": "Zoe",
    "last_name": "Quartz",
    "name": "Zoe Quartz",
    "city": "Quartzville",
    "state": "California",
    "zip": "94035-1234",
}


@pytest.mark.parametrize("hashing", [True, False])
@pytest.mark.parametrize("api", ["conversions", "offline"])
def test_a_personal_value_is_sealed_at_every_path_of_its_field(api: str, hashing: bool) -> None:
    sealing = mapper(api, hashing=hashing, default_country="US")

    for field, value in PERSONAL_FIELDS.items():
        for path in PATHS[field]:
            redacted = sealing.redact(placed(path, value))
            assert value not in (redacted or b"").decode(), path


@pytest.mark.parametrize(
    "name", ["email", "E-Mail", "First Name", "last_name", "phoneNumber", "Birth-Date", "Zip Code"]
)
def test_a_property_named_like_an_identity_is_sealed_on_every_level(name: str) -> None:
    event = sale(properties={name: "Quartz", "list": [{"deep": {name: "Quartz", "kept": 1}}]})

    for api in ("conversions", "offline"):
        redacted = (mapper(api).redact(event) or b"").decode()
        assert "Quartz" not in redacted
        assert '"kept":1' in redacted


def test_what_the_mapper_never_reads_is_not_kept() -> None:
    event = sale(traits={"diary": "Quartz"}, context={"location": {"street": "Quartz"}}, Note="Quartz")

    assert "Quartz" not in (mapper().redact(event) or b"").decode()


@pytest.mark.parametrize("api", ["conversions", "offline"])
def test_a_personal_value_at_an_extra_path_is_sealed(api: str) -> None:
    for field, value in PERSONAL_FIELDS.items():
        for path in ("properties.zz", "properties.a.b", "context.custom.zz", "traits.zz", "zz"):
            sealing = mapper(api, extra_fields={field: [path]}, default_country="US")
            event = placed(path, value)
            redacted = sealing.redact(event)
            assert value not in (redacted or b"").decode(), (field, path)
            assert seen(sealing.map(orjson.loads(redacted or b""), NOW)) == seen(sealing.map(event, NOW))


def placed(path: str, value: Any) -> Any:
    """A sale with one value at a path."""
    event: Any = sale()
    *holders, key = path.split(".")
    holder = event
    for name in holders:
        holder = holder.setdefault(name, {})
    holder[key] = value
    return event
