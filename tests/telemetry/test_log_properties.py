"""Properties of every log line, whatever the record contains."""

from __future__ import annotations

import json
import logging
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.model import GatewayError
from gateway.telemetry.logging import CONTINUATION, FIELDS, JsonFormatter, TextFormatter
from tests.telemetry.log_records import fields_of, raised, record, unsafe_characters

JSON = JsonFormatter()
TEXT = TextFormatter(colours=False)

MARKER = "marker-7f3a"

unicode_texts = st.text(st.characters() | st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp"]))
values = st.recursive(
    unicode_texts | st.integers() | st.floats() | st.binary() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(unicode_texts, inner, max_size=3),
    max_leaves=5,
)
loggers = st.sampled_from(["gateway", "gateway.ingest", "aiohttp.server", "asyncio"])
# Names that a record has itself are refused by the standard library.
field_names = (unicode_texts | st.sampled_from(sorted(FIELDS))).filter(
    lambda name: name not in {*vars(record()), "message", "asctime"}
)


@settings(max_examples=300, deadline=None)
@given(
    message=st.sampled_from(["%s", "%s of %s", "%d", "none"]) | unicode_texts,
    args=st.lists(values, max_size=3),
    logger=loggers,
    extra=st.dictionaries(field_names, values, max_size=4),
)
def test_a_record_without_an_exception_is_one_line_of_printable_characters(
    message: str, args: list[Any], logger: str, extra: dict[str, Any]
) -> None:
    given_record = record(message, *args, logger=logger, extra=extra)
    text, line = TEXT.format(given_record), JSON.format(given_record)
    assert len(text.splitlines()) == len(line.splitlines()) == 1
    assert not unsafe_characters(text)
    assert not unsafe_characters(line)
    decoded = json.loads(line)
    assert fields_of(decoded) <= FIELDS & extra.keys()
    assert not unsafe_characters(decoded["message"])


class CustomError(Exception):
    pass


def marked_exceptions(kinds: list[Any]) -> st.SearchStrategy[BaseException]:
    """Exceptions with the marker in their messages, notes, causes, contexts and groups."""
    single = st.sampled_from(kinds).map(lambda make: raised(with_note(make())))

    def linked(inner: st.SearchStrategy[BaseException]) -> st.SearchStrategy[BaseException]:
        groups = st.lists(inner, min_size=1, max_size=3).map(lambda each: raised(BaseExceptionGroup(MARKER, each)))
        return groups | st.builds(with_cause, single, inner) | st.builds(with_context, single, inner)

    return st.recursive(single, linked, max_leaves=6)


def with_note(error: BaseException) -> BaseException:
    error.add_note(MARKER)
    return error


def with_cause(error: BaseException, cause: BaseException) -> BaseException:
    return raised(error, cause=cause)


def with_context(error: BaseException, context: BaseException) -> BaseException:
    error.__context__ = context
    return error


FAULTS = [
    lambda: ValueError(MARKER),
    lambda: KeyError(MARKER),
    lambda: CustomError(MARKER),
    lambda: UnicodeDecodeError("utf-8", MARKER.encode(), 0, 1, MARKER),
    lambda: OSError(MARKER),
    lambda: OSError(28, MARKER, MARKER),
    lambda: ConnectionResetError(104, MARKER),
]


@settings(max_examples=200, deadline=None)
@given(error=marked_exceptions(FAULTS))
def test_an_exception_in_the_gateway_is_written_with_type_and_stack_but_without_content(error: BaseException) -> None:
    given_record = record("a request failed", error=error)
    text, line = TEXT.format(given_record), JSON.format(given_record)
    assert_only_type_and_stack(text, error)
    assert_only_type_and_stack(json.loads(line)["exception"], error)
    assert not unsafe_characters(line)
    assert all(each.startswith(CONTINUATION.lstrip("\n")) for each in text.splitlines()[1:])


@settings(max_examples=200, deadline=None)
@given(error=marked_exceptions([*FAULTS, lambda: GatewayError(MARKER)]), logger=st.sampled_from(["aiohttp", "asyncio"]))
def test_an_exception_in_a_library_is_written_without_any_message(error: BaseException, logger: str) -> None:
    given_record = record("Error: %s", MARKER, logger=logger, error=error)
    for formatter in (TEXT, JSON):
        assert_only_type_and_stack(formatter.format(given_record), error)


def assert_only_type_and_stack(formatted: str, error: BaseException) -> None:
    assert MARKER not in formatted
    assert type(error).__name__ in formatted
    assert "raise_it" in formatted


@settings(max_examples=100, deadline=None)
@given(message=unicode_texts, level=st.sampled_from([logging.INFO, logging.ERROR]))
def test_the_message_of_an_error_for_the_operator_is_escaped(message: str, level: int) -> None:
    given_record = record("the start failed", level=level, error=raised(GatewayError(message)))
    text = TEXT.format(given_record)
    assert not unsafe_characters(text.replace(CONTINUATION, ""))
    assert not unsafe_characters(JSON.format(given_record))
