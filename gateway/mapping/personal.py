"""Recognition of personal data by its look: names of properties, texts, and the parts of a URL.

Meta takes an identity hashed, in the fields for it. Personal data in any other place would be sent to Meta as it is.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import unquote, unquote_plus

PERSONAL_NAMES = frozenset(
    {
        "address",
        "birthdate",
        "birthday",
        "city",
        "customeremail",
        "customername",
        "customerphone",
        "dateofbirth",
        "dob",
        "email",
        "emailaddress",
        "familyname",
        "fbc",
        "fbp",
        "firstname",
        "fullname",
        "gender",
        "givenname",
        "lastname",
        "mobile",
        "mobilephone",
        "name",
        "phone",
        "phonenumber",
        "postalcode",
        "postcode",
        "sex",
        "state",
        "street",
        "surname",
        "telephone",
        "zip",
        "zipcode",
    }
)
"""Names of identities that are never passed on, in lower case without `_`, `-`, `.` and spaces."""
PERSONAL_PARTS = (
    *("email", "phone", "mobile", "address", "birth", "firstname", "lastname", "surname", "street", "postcode"),
    "passport",
)
"""A name with one of these in it looks personal, also in lower case without `_`, `-`, `.` and spaces."""
PERSONAL_WORDS = frozenset({"ip", "ipv", "ssn"})
"""A name with one of these as a word looks personal: `client_ip` and `userIP`, but not `shipping` and `classname`."""

_PARTS = re.compile("|".join(PERSONAL_PARTS)).search
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+").findall
_EMAIL = re.compile(r"[\w.%+'\-][@\uff20](?:[\w\-]+[.\uff0e])+[^\W\d_]{2}").search
_PHONE_SEPARATORS = re.compile(r"[\s().\-/]").sub
_WITH_PLUS = re.compile("[+\uff0b]\\d{7,15}").fullmatch
_WITH_ZEROS = re.compile(r"00([1-9]\d{6,14})", re.ASCII).fullmatch
_WEB_ADDRESS = re.compile(r"\s*https?://", re.IGNORECASE).match
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


def is_identity_name(name: str) -> bool:
    """Whether a property has the name of an identity, in any spelling. Such a property is never passed on."""
    return _plain(name) in PERSONAL_NAMES


def is_personal_name(name: str) -> bool:
    """Whether the name of a property is that of an identity, or looks like one, or like a personal value."""
    plain = _plain(name)
    return (
        plain in PERSONAL_NAMES
        or _PARTS(plain) is not None
        or any(word.lower() in PERSONAL_WORDS for word in _WORDS(name))
        or is_personal_text(name)
    )


def _plain(name: str) -> str:
    return "".join(name.lower().replace("_", "").replace("-", "").replace(".", "").split())


def is_personal_text(text: str) -> bool:
    """Whether a text contains an email address, or is an IP address or a phone number in international form."""
    if _has_email(text):
        return True
    text = text.strip()
    if text[:1] in _LETTERS and ":" not in text:
        return False
    if (":" in text or "." in text) and _is_ip_address(text):
        return True
    digits = _PHONE_SEPARATORS("", text)
    if _WITH_PLUS(digits):
        return True
    match = _WITH_ZEROS(digits)
    return match is not None and _is_phone(match[1])


def _has_email(text: str) -> bool:
    if "%40" in text:
        text = text.replace("%40", "@")
    return ("@" in text or "\uff20" in text) and _EMAIL(text) is not None


def _is_ip_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_phone(digits: str) -> bool:
    """Whether digits are a valid number with its calling code. Article numbers that begin with 00 mostly are not."""
    import phonenumbers  # noqa: PLC0415 (40 ms, and rarely needed)

    try:
        return phonenumbers.is_valid_number(phonenumbers.parse("+" + digits))
    except phonenumbers.NumberParseException:
        return False


def without_personal_text(text: str) -> str | None:
    """A text to pass on: unchanged, or without the personal parts of a URL. None if it looks personal."""
    if _WEB_ADDRESS(text):
        return clean_url(text)
    return None if is_personal_text(text) else text


def clean_url(url: str) -> str:
    """A URL without what looks personal in it.

    This is its user, the parameters with a personal name or value, a path that contains an email address, and a
    fragment that contains any of these. `fbclid` is kept: it is read for `fbc`.
    """
    if not ("?" in url or "@" in url or "#" in url or "%" in url or "\uff20" in url):
        return url
    address, mark, fragment = url.partition("#")
    base, question, query = address.partition("?")
    if "@" in base or "%" in base or "\uff20" in base:
        base = _clean_base(base)
    if query:
        parameters = query.split("&")
        kept = [parameter for parameter in parameters if not _is_personal_parameter(parameter)]
        if len(kept) < len(parameters):
            query = "&".join(kept)
            question = "?" if kept else ""
    if fragment and (
        any("=" in part and _is_personal_parameter(part) for part in re.split("[?&]", fragment))
        or _has_email(unquote(fragment))
    ):
        mark = fragment = ""
    return base + question + query + mark + fragment


def _clean_base(base: str) -> str:
    scheme, separator, rest = base.partition("://")
    if not separator:
        scheme, rest = "", base
    host, slash, path = rest.partition("/")
    if separator:
        host = host.rpartition("@")[2]
    elif _has_email(unquote(host)):
        host = ""
    if slash and _has_email(unquote(slash + path)):
        path = ""
    return scheme + separator + host + slash + path


def _is_personal_parameter(parameter: str) -> bool:
    name, _, value = parameter.partition("=")
    if name == "fbclid":
        return False
    return is_personal_name(unquote_plus(name)) or (value != "" and is_personal_text(unquote(value)))
