"""Sessions, the tokens of forms, and the limit of failed attempts. The clock is a list with the current time."""

from __future__ import annotations

from gateway.admin.access import Identity, Role
from gateway.console.session import (
    ALL_ATTEMPTS,
    ATTEMPT_SECONDS,
    ATTEMPTS,
    MAX_ADDRESSES,
    MAX_SESSIONS,
    SESSION_SECONDS,
    AttemptLimit,
    FormTokens,
    Sessions,
    is_key,
    new_key,
)

ADMIN = Identity(Role.ADMIN, "admin token")


def test_a_session_ends_after_its_time_or_when_it_is_closed() -> None:
    now = [1000.0]
    sessions = Sessions(lambda: now[0])
    first, second = sessions.open(ADMIN), sessions.open(ADMIN)
    assert sessions.find(first) is ADMIN
    sessions.close(second)
    assert sessions.find(second) is None
    now[0] += SESSION_SECONDS - 1
    assert sessions.find(first) is ADMIN
    now[0] += 1
    assert sessions.find(first) is None


def test_beyond_the_limit_the_oldest_session_ends() -> None:
    sessions = Sessions(lambda: 0.0)
    keys = [sessions.open(ADMIN) for _ in range(MAX_SESSIONS + 1)]
    assert sessions.find(keys[0]) is None
    assert all(sessions.find(key) is ADMIN for key in keys[1:])


def test_a_form_is_valid_only_for_the_browser_for_which_it_was_made() -> None:
    tokens, key = FormTokens(), new_key()
    assert tokens.is_valid(key, tokens.token(key))
    assert not tokens.is_valid(new_key(), tokens.token(key))
    assert not tokens.is_valid(key, "")
    assert not tokens.is_valid(key, "\udcff")
    assert not FormTokens().is_valid(key, tokens.token(key)), "another process has another secret"


def test_keys_have_a_form_of_their_own() -> None:
    assert is_key(new_key())
    assert not any(map(is_key, ("", "short", new_key() + "x", "\n" + new_key()[1:])))


def test_an_address_has_to_wait_after_some_failures_and_others_have_not() -> None:
    now = [0.0]
    limit = AttemptLimit(lambda: now[0])
    for _ in range(ATTEMPTS):
        assert limit.seconds_to_wait("10.0.0.1") == 0
        limit.failed("10.0.0.1")
    assert limit.seconds_to_wait("10.0.0.1") == ATTEMPT_SECONDS
    assert limit.seconds_to_wait("10.0.0.2") == 0
    now[0] = ATTEMPT_SECONDS + 0.1
    assert limit.seconds_to_wait("10.0.0.1") == 0


def test_all_addresses_together_have_a_limit() -> None:
    limit = AttemptLimit(lambda: 0.0)
    for number in range(ALL_ATTEMPTS):
        limit.failed(f"10.0.1.{number}")
    assert limit.seconds_to_wait("10.0.0.9") == ATTEMPT_SECONDS


def test_the_addresses_that_are_remembered_are_limited() -> None:
    limit = AttemptLimit(lambda: 0.0)
    for number in range(MAX_ADDRESSES + 10):
        limit.failed(f"address {number}")
    assert len(limit._failures) == MAX_ADDRESSES
