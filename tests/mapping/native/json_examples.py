"""JSON texts for the native reader: those that it has to accept, and those on which it has to give up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

PLAIN = ("a", "Order Completed", "total", "x" * 7, "y" * 8, "z" * 17, "~\x7f", "@/.:-_", "59.90")
BEYOND_ASCII = ("é", "ß", "\u07ff", "\u0800", "東京", "\ud7ff", "\ue000", "\uffff", "😀", "\U00010000", "\U0010ffff")
ESCAPES = (*(f"\\{letter}" for letter in '"\\/bfnrt'), "\\u0000", "\\u001F", "\\u0041", "\\u00e9", "\\u20AC")
SURROGATES = ("\\ud83d\\ude00", "\\uD800\\uDC00", "\\uDBFF\\uDFFF")
LONE_SURROGATES = (
    *("\\ud83d", "\\udc00", "\\ud83d\\u0041", "\\ud83d\\ue000", "\\ud83dx", "\\udc00\\ud83d", "\\ud83d\\ud83d"),
    "\\udc00\\udc00",
)
INVALID_ESCAPES = ("\\x", "\\u00", "\\u00g0", "\\U0041", "\\u 041", "\\")
CONTROL_CHARACTERS = ("\x00", "\x1f", "\n")
INVALID_UTF8 = (
    *(b"\x80", b"\xbf", b"\xc0\xaf", b"\xc1\xbf", b"\xc2", b"\xe0\x9f\xbf", b"\xe2\x82", b"\xed\xa0\x80"),
    *(b"\xed\xbf\xbf", b"\xf0\x8f\xbf\xbf", b"\xf0\x9f\x98", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xff"),
    *(b"\xc3\x28", b"\xe2\x28\xa1", b"\xf0\x9f\x98\x28"),
)
COMPUTED_NUMBERS = (
    *("0", "-0", "-0.0", "0.0", "0e0", "-0e-0", "1", "-1", "59.9", "1E5", "1e+5", "1e-5", "1.50", "0.000001"),
    *("123456789012345678", "9223372036854775807", "-9223372036854775807", "9007199254740993", "4503599627370496.5"),
    *("1e22", "-1e-22", "9007199254740992e22", "9007199254740991e-22", "0.1e22", "1.7976931348623157e270"),
    *("59.980000000000004", "0.30000000000000004", "123456.78901234567", "5e-270", "1e23", "1e-23", "8.5e-23"),
)
LARGE_NUMBERS = (
    *("-9223372036854775808", "9223372036854775808", "18446744073709551615", "18446744073709551616", "1" * 40),
    *("0." + "1" * 40, "1" * 100 + ".5", "1" * 290, "0.1000000000000000055511151231257827021181583404541015625"),
)
"""Valid numbers whose value the reader does not compute."""
REFUSED_NUMBERS = (
    *("1e309", "5e-300", "1e400", "-1e999", "1e-400", "1" * 400, "1" * 250 + "e60"),
    *("01", "-01", "-", "+1", ".5", "1.", "1.e5", "1e", "1e+", "0x1", "NaN", "Infinity", "-Infinity"),
)
"""Numbers that may be too large for a double, and what is no number."""
MANY_KEYS = f'{{{",".join(f""""key_{number}":[{number}]""" for number in range(300))}}}'
SUPPORTED = (
    *("[" + "1," * 200 + "1]", "[" + '{"a":[]},' * 1_000 + "1]", '{"a":{"a":1},"b":[{"a":2},{"a":3}]}', MANY_KEYS),
    *(' { "a" : [ 1 , 2 ] } ', "[[],{},[[]],[{}]]", "\r\n\t[true,false,null]\r\n\t", '""', '{"":""}', "null"),
)
DUPLICATE_KEYS = (
    *('{"a":1,"a":2}', '{"a":1,"b":{},"\\u0061":2}', '{"":1,"":1}', '[{"b":{"a":{},"c":1,"a":{}}}]'),
    *('{"x":[1,2],"b":0,"b":1}', MANY_KEYS.replace("}", ',"key_7":0}')),
)
NOT_JSON = (
    *("", " ", "[", "]", "{", "}", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "{1:2}", '{"a"}', '{"a":}', '{"a":1,}'),
    *('{"a":1', '{"a" 1}', '{,"a":1}', '{"a":1]', "[1}", '"', '"a', '"\\', "tru", "nul", "falsy", "truex", "1 1"),
    *("[] []", "\ufeff1", "\x0b1", "//", "'a'", "[1],", '{"a":1}}', "1,", ":", "[}", "{]"),
)


class Examples(NamedTuple):
    """Texts of one kind."""

    accepted: Sequence[bytes] = ()
    refused: Sequence[bytes] = ()


def _encoded(texts: Iterable[str]) -> list[bytes]:
    return [text.encode() for text in texts]


def _in_strings(parts: Iterable[bytes]) -> list[bytes]:
    """Parts of strings, in every position that matters to a reader that reads eight bytes at once."""
    templates = (b'"%s"', b'"1234567%s"', b'"\\n%s, 12345"', b'["\xc3\xa9%s\xc3\xa9"]', b'{"%s":1}', b'{"a\\n%s":"%s"}')
    parts = list(parts)
    return [template.replace(b"%s", part) for template in templates for part in parts]


EXAMPLES = {
    "numbers": Examples(
        _encoded(
            template.format(number) for number in (*COMPUTED_NUMBERS, *LARGE_NUMBERS) for template in ("{}", "[{}]")
        ),
        _encoded(template.format(number) for number in REFUSED_NUMBERS for template in ("{}", "[{},1]")),
    ),
    "strings": Examples(
        _in_strings(_encoded([*PLAIN, *BEYOND_ASCII, *ESCAPES, *SURROGATES])),
        _in_strings([*_encoded([*LONE_SURROGATES, *INVALID_ESCAPES, *CONTROL_CHARACTERS]), *INVALID_UTF8]),
    ),
    "syntax": Examples(_encoded(SUPPORTED), _encoded(NOT_JSON)),
    "keys": Examples(refused=_encoded(DUPLICATE_KEYS)),
}
