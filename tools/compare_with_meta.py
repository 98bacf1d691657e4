"""Compares the match keys that the gateway sends with those of Meta's own libraries, on generated values.

A development script: no test runs it. It needs Node.js and a folder with Meta's packages from npm, outside the project:

    npm install --prefix FOLDER capi-param-builder-nodejs facebook-nodejs-business-sdk
    python -m tools.compare_with_meta FOLDER [--values 27000] [--examples 3]

For each field and library it prints how many values get the same hash, and the classes of disagreement with examples:
what the gateway hashes, and what the library does. A value for which the gateway sends two hashes agrees if one of them
is the library's. The values are the same in every run, so the output before and after a change can be compared.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import phonenumbers
import pycountry

from gateway.config import DestinationSettings
from gateway.mapping import Mapper, compile_mapper
from gateway.mapping.explain import explain

NOW = 1_795_000_000
LIBRARIES = {"builder": "Parameter Builder", "sdk": "business SDK for Node.js"}
FIELDS: Mapping[str, tuple[str, str, str, str]] = {
    "email": ("em", "email", "email", "setEmail"),
    "phone": ("ph", "phone", "phone", "setPhone"),
    "gender": ("ge", "gender", "gender", "setGender"),
    "birthday": ("db", "birthday", "date_of_birth", "setDateOfBirth"),
    "first_name": ("fn", "firstName", "first_name", "setFirstName"),
    "last_name": ("ln", "lastName", "last_name", "setLastName"),
    "city": ("ct", "city", "city", "setCity"),
    "state": ("st", "state", "state", "setState"),
    "zip": ("zp", "zip", "zip_code", "setZip"),
    "country": ("country", "country", "country", "setCountry"),
    "external_id": ("external_id", "id", "external_id", ""),
}
"""Field to its key, its name in the traits, its type in the Parameter Builder, and the SDK's setter, if any."""

NODE = """
const path = require('path');
const modules = path.resolve(process.argv[1], 'node_modules');
const { ParamBuilder } = require(path.join(modules, 'capi-param-builder-nodejs'));
const { UserData } = require(path.join(modules, 'facebook-nodejs-business-sdk'));
const builder = new ParamBuilder();
const fields = JSON.parse(process.argv[2]);
const answers = JSON.parse(require('fs').readFileSync(0, 'utf8')).map(([field, value]) => {
  const [key, , type, setter] = fields[field];
  let sdk = null;
  try {
    if (setter) {
      const sent = new UserData()[setter](value).normalize()[key];
      sdk = Array.isArray(sent) ? sent[0] : sent ?? null;
    }
  } catch (error) { sdk = 'error'; }
  return { builder: builder.getNormalizedAndHashedPII(value, type), sdk };
});
process.stdout.write(JSON.stringify(answers));
"""
"""The program for Node.js: reads a list of field and value, writes what each library sends for each of them."""


class Given(NamedTuple):
    """One value of one field of a customer."""

    field: str
    value: str
    country: str | None = None


class Sent(NamedTuple):
    """What the gateway sends for a value."""

    hashes: Sequence[str]
    text: str | None
    """The normalised text, for the examples."""


# Values.

FIRST_NAMES = ("Mary", "JOHN", "Jean-Luc", "Mary Ann", "Valéry", "O'Neil", "정", "Zoë", " José María ", "J.R.", "Nuñez")
LAST_NAMES = ("Keener", "SMITH", "O'Brien", "de Souza", "Groß", "van der Berg", "Müller-Lüdenscheidt", "김", "Øster")
CITIES = (
    "Paris",
    "New York",
    "São Paulo",
    "St. John's",
    "München",
    "القاهرة",
    "東京",
    "Rio de Janeiro",
    "Aix-en-Provence",
)
DOMAINS = ("gmail.com", "Example.DE", "mail.example.org", "x.co.uk")
AROUND = ("{}", "{}", "{}", " {} ", "mailto:{}", "<{}>", '"{}"', "{};", "{},")
GENDERS = (
    "m",
    "F",
    "male",
    "Female",
    "man",
    "Woman",
    "Mr",
    "Mrs",
    "Ms",
    "boy",
    "girl",
    "non-binary",
    "x",
    "lady",
    "sir",
)
ZIPS = (
    *(
        (None, "94035-####"),
        (None, "#####"),
        ("US", "#####-####"),
        ("US", "#####"),
        ("GB", "SW1A #AA"),
        ("CA", "K#A #B#"),
    ),
    *(
        ("BR", "#####-###"),
        ("JP", "###-####"),
        ("DE", "#####"),
        ("NL", "#### AB"),
        ("PT", "####-###"),
        ("PL", "##-###"),
    ),
)
PHONE_FORMS = (
    *(lambda e164, _i, _n: e164, lambda _e, international, _n: international, lambda e164, _i, _n: e164[1:]),
    *(lambda e164, _i, _n: "00" + e164[1:], lambda _e, _i, national: national),
    lambda _e, international, _n: international.replace(" ", "_"),
)
DATES = ("{d:02}/{m:02}/{y}", "{m:02}/{d:02}/{y}", "{m}/{d}/{y}", "{y}-{m:02}-{d:02}", "{y}{m:02}{d:02}", "{d}.{m}.{y}")


def values(count: int) -> Iterator[Given]:
    """Generate values of all fields, about as many of each."""
    rng = random.Random(1)  # noqa: S311 (the same values in every run)
    makers: Mapping[str, Callable[[random.Random], Given]] = {
        "email": lambda rng: Given(
            "email", rng.choice(AROUND).format(f"Ann.{rng.randrange(999)}@{rng.choice(DOMAINS)}")
        ),
        "phone": _phone,
        "gender": lambda rng: Given("gender", rng.choice(GENDERS)),
        "birthday": _birthday,
        "first_name": lambda rng: Given("first_name", rng.choice(FIRST_NAMES)),
        "last_name": lambda rng: Given("last_name", rng.choice(LAST_NAMES)),
        "city": lambda rng: Given("city", rng.choice(CITIES)),
        "state": _state,
        "zip": _zip,
        "country": _country,
        "external_id": lambda rng: Given("external_id", f"{rng.choice(('Kd-', 'u', ' U '))}{rng.randrange(10**6)}"),
    }
    hashed = sha256(b"ann").hexdigest()
    for number in range(count):
        field = list(makers)[number % len(makers)]
        if rng.random() < 0.02:
            yield Given(field, rng.choice((hashed, hashed.upper(), f"{hashed}.AQYCAQAA", f"{hashed}.BA")))
        else:
            yield makers[field](rng)


def _phone(rng: random.Random) -> Given:
    region = rng.choice(sorted(phonenumbers.SUPPORTED_REGIONS))
    kinds = (phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE)
    number = phonenumbers.example_number_for_type(region, rng.choice(kinds)) or phonenumbers.example_number(region)
    if number is None:
        raise RuntimeError(f"phonenumbers has no example of {region}")
    formats = (
        phonenumbers.PhoneNumberFormat.E164,
        phonenumbers.PhoneNumberFormat.INTERNATIONAL,
        phonenumbers.PhoneNumberFormat.NATIONAL,
    )
    texts = [str(phonenumbers.format_number(number, form)) for form in formats]
    return Given("phone", rng.choice(PHONE_FORMS)(*texts), rng.choice((region, region, None)))


def _birthday(rng: random.Random) -> Given:
    year, month, day = rng.randrange(1930, 2010), rng.randrange(1, 13), rng.randrange(1, 29)
    return Given("birthday", rng.choice(DATES).format(y=year, m=month, d=day), rng.choice(("US", "DE", None)))


def _state(rng: random.Random) -> Given:
    country = rng.choice(("US", "US", "CA", "AU", "DE", "BR"))
    state = rng.choice(sorted(pycountry.subdivisions.get(country_code=country), key=str))  # type: ignore[no-untyped-call]
    return Given(
        "state", rng.choice((state.name, state.name.upper(), state.code[3:])), rng.choice((country, country, None))
    )


def _zip(rng: random.Random) -> Given:
    country, form = rng.choice(ZIPS)
    return Given("zip", "".join(str(rng.randrange(10)) if char == "#" else char for char in form), country)


def _country(rng: random.Random) -> Given:
    country = rng.choice(list(pycountry.countries))
    names = (
        country.alpha_2,
        country.alpha_2.lower(),
        country.alpha_3,
        country.name,
        getattr(country, "common_name", None),
    )
    return Given("country", rng.choice([name for name in names if name]))


# Comparison.


def sent_by_gateway(given: Sequence[Given]) -> list[Sent]:
    """Map an event with each value as its only identity besides the country."""
    mapper = compile_mapper(
        "store",
        DestinationSettings.model_validate(
            {"api": "conversions", "access_token": "-", "standard_to_event_sets": {"Purchase": ["1"]}}
        ),
    )
    return [_sent(mapper, each) for each in given]


def _sent(mapper: Mapper, given: Given) -> Sent:
    key, trait, *_ = FIELDS[given.field]
    traits = {"country": given.country, trait: given.value} if given.country else {trait: given.value}
    context = {"externalId": [{"type": "LeadId", "id": "1"}]}  # so that no event is without an identity
    explanation = explain(
        mapper, {"type": "track", "event": "Order Completed", "traits": traits, "context": context}, NOW
    )
    step = next(step for step in explanation.steps if step.key == key)
    sent = step.sent.get(key) if isinstance(step.sent, dict) else step.sent
    return Sent(sent if isinstance(sent, list) else [] if sent is None else [sent], step.normalised)


def sent_by_meta(given: Sequence[Given], folder: Path) -> list[dict[str, str | None]]:
    """What each library sends for each value: a hash, None, or `error` for an exception."""
    done = subprocess.run(
        [shutil.which("node") or "node", "-e", NODE, str(folder), json.dumps(FIELDS)],
        input=json.dumps([[each.field, each.value] for each in given]),
        capture_output=True,
        text=True,
        check=True,
    )
    answers: list[dict[str, str | None]] = json.loads(done.stdout)
    return answers


def difference(ours: Sequence[str], theirs: str | None) -> str | None:
    """The class of a disagreement; None if both agree. The appendix of the Parameter Builder does not count."""
    bare = [text.partition(".")[0] for text in ours]
    if theirs in {None, "", "error"}:
        if not ours:
            return None
        return "only the gateway sends it; the library fails" if theirs == "error" else "only the gateway sends it"
    if not ours:
        return "only the library sends it"
    return None if str(theirs).partition(".")[0] in bare else "different hashes"


def report(
    given: Sequence[Given], ours: Sequence[Sent], theirs: Sequence[dict[str, str | None]], examples: int
) -> None:
    """Print the agreement, and then the classes of disagreement."""
    for library, title in LIBRARIES.items():
        counts: dict[str, Counter[str | None]] = defaultdict(Counter)
        seen: dict[tuple[str, str], list[str]] = defaultdict(list)
        for each, sent, answer in zip(given, ours, theirs, strict=True):
            if library == "sdk" and not FIELDS[each.field][3]:
                continue
            kind = difference(sent.hashes, answer[library])
            counts[each.field][kind] += 1
            example = f"{each.value!r}{f' in {each.country}' if each.country else ''} (gateway: {sent.text})"
            if kind is not None and example not in (shown := seen[each.field, kind]) and len(shown) < examples:
                shown.append(example)
        print(f"\n## {title}\n")
        print("| field | values | the same | share |\n| --- | --- | --- | --- |")
        for field, kinds in counts.items():
            print(f"| {field} | {kinds.total()} | {kinds[None]} | {kinds[None] / kinds.total():.1%} |")
        print("\n| field | disagreement | values | examples |\n| --- | --- | --- | --- |")
        for field, kind, number in _disagreements(counts):
            print(f"| {field} | {kind} | {number} | {'; '.join(seen[field, kind])} |")


def _disagreements(counts: Mapping[str, Counter[str | None]]) -> Iterable[tuple[str, str, int]]:
    for field, kinds in counts.items():
        for kind, number in kinds.most_common():
            if kind is not None:
                yield field, kind, number


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(prog="python -m tools.compare_with_meta", description=__doc__)
    parser.add_argument("folder", type=Path, help="folder with node_modules")
    parser.add_argument("--values", type=int, default=27_000, help="number of values (default: 27000)")
    parser.add_argument("--examples", type=int, default=3, help="examples of each class (default: 3)")
    arguments = parser.parse_args()
    given = list(values(arguments.values))
    report(given, sent_by_gateway(given), sent_by_meta(given, arguments.folder), arguments.examples)


if __name__ == "__main__":
    main()
