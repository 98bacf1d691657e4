"""Who looks at the console: sessions that a token opens, the token of forms, and the limit of failed attempts."""

from __future__ import annotations

import hmac
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

from gateway.admin.access import Identity
from gateway.model import UnixSeconds

SESSION_SECONDS = 12 * 3600.0
"""How long a session lasts."""
MAX_SESSIONS = 200
"""Sessions at a time; beyond it the oldest one ends."""

ATTEMPTS = 5
"""Failed attempts of one address in `ATTEMPT_SECONDS`."""
ALL_ATTEMPTS = 60
"""Failed attempts of all addresses in `ATTEMPT_SECONDS`."""
ATTEMPT_SECONDS = 60.0
MAX_ADDRESSES = 1000

_KEY = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Session:
    """One signed-in browser."""

    identity: Identity
    ends_at: UnixSeconds


class Sessions:
    """The open sessions, by the key in the browser's cookie. They are in memory, so a restart ends them."""

    def __init__(self, clock: Callable[[], UnixSeconds]) -> None:
        self._clock = clock
        self._sessions: OrderedDict[str, Session] = OrderedDict()  # the oldest first, at most MAX_SESSIONS

    def open(self, identity: Identity) -> str:
        """Open a session; its key."""
        key = new_key()
        self._sessions[key] = Session(identity, self._clock() + SESSION_SECONDS)
        if len(self._sessions) > MAX_SESSIONS:
            self._sessions.popitem(last=False)
        return key

    def find(self, key: str) -> Identity | None:
        """Whose session it is; None if there is no such session, or not any more."""
        session = self._sessions.get(key)
        if session is None:
            return None
        if session.ends_at <= self._clock():
            del self._sessions[key]
            return None
        return session.identity

    def close(self, key: str) -> None:
        """End a session, if there is one."""
        self._sessions.pop(key, None)


class FormTokens:
    """Makes the token that every form carries, from the key in the browser's cookie.

    A page of another site can neither read the cookie nor the token, so it cannot send a form in a browser's name.
    """

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)

    def token(self, key: str) -> str:
        """The token of the forms of one browser."""
        return hmac.new(self._secret, key.encode(errors="replace"), sha256).hexdigest()

    def is_valid(self, key: str, token: str) -> bool:
        """Whether a form was made for this browser."""
        return hmac.compare_digest(self.token(key).encode(), token.encode(errors="replace"))


class AttemptLimit:
    """Limits failed attempts to sign in, for each address and in total."""

    def __init__(self, clock: Callable[[], UnixSeconds]) -> None:
        self._clock = clock
        self._failures: dict[str, list[UnixSeconds]] = {}  # by address, at most MAX_ADDRESSES

    def seconds_to_wait(self, address: str) -> float:
        """Seconds until the address may try again; 0 if it may now."""
        self._forget()
        own = self._failures.get(address, [])
        every = sorted(at for failures in self._failures.values() for at in failures)
        waits = [
            failures[-limit] + ATTEMPT_SECONDS - self._clock()
            for failures, limit in ((own, ATTEMPTS), (every, ALL_ATTEMPTS))
            if len(failures) >= limit
        ]
        return max(waits, default=0.0)

    def failed(self, address: str) -> None:
        """Count a failed attempt."""
        if address not in self._failures and len(self._failures) >= MAX_ADDRESSES:
            del self._failures[next(iter(self._failures))]
        self._failures.setdefault(address, []).append(self._clock())

    def _forget(self) -> None:
        since = self._clock() - ATTEMPT_SECONDS
        recent = {address: [at for at in times if at > since] for address, times in self._failures.items()}
        self._failures = {address: times for address, times in recent.items() if times}


def new_key() -> str:
    """A key for a browser's cookie."""
    return secrets.token_urlsafe(32)


def is_key(text: str) -> bool:
    """Whether a text has the form of a key."""
    return _KEY.fullmatch(text) is not None
