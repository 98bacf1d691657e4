"""The access token of a destination. It can change while the process runs, by a reload or in its file."""

from __future__ import annotations

import asyncio
import logging

from gateway.config import Secret

log = logging.getLogger("gateway.meta")


class AccessToken:
    """The token that requests carry. All lanes of a destination share it."""

    def __init__(self, secret: Secret, destination: str) -> None:
        self._destination = destination
        # Only the loop's thread changes this.
        self._secret = secret

    @property
    def current(self) -> str:
        """The token in plain text."""
        return self._secret.reveal()

    def replace(self, secret: Secret) -> None:
        """Use another token from the next request on."""
        self._secret = secret

    async def refresh(self, refused: str) -> bool:
        """Read the token file again if the current token is the refused one. Returns whether the token differs now."""
        secret = self._secret
        if secret.reveal() == refused and secret.is_from_file:
            try:
                reread = await asyncio.to_thread(secret.reread)
            except ValueError as error:
                # The file may be half written. The next probe reads it again.
                log.warning(
                    "cannot read the access token file again: %s; still using the previous token",
                    error,
                    extra={"destination": self._destination},
                )
            else:
                if self._secret is secret:  # else a reload replaced the token during the read
                    self._secret = reread
        return self._secret.reveal() != refused
