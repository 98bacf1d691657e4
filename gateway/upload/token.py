"""A destination's access token, which may be replaced while the process runs: by a new one in its file."""

from __future__ import annotations

import asyncio
import logging

from gateway.config import Secret

log = logging.getLogger("gateway.upload")


class Token:
    """The token that calls carry now. Shared by all lanes of a destination."""

    def __init__(self, secret: Secret, destination: str) -> None:
        self._destination = destination
        # Only the loop's thread touches this.
        self._secret = secret

    @property
    def current(self) -> str:
        """The token itself."""
        return self._secret.reveal()

    def replace(self, secret: Secret) -> None:
        """Use another one from the next call on."""
        self._secret = secret

    async def renewed(self, refused: str) -> bool:
        """Whether there is another token than the one that Meta refused; its file is read again for that."""
        if self._secret.reveal() == refused and self._secret.is_from_file:
            try:
                self._secret = await asyncio.to_thread(self._secret.reread)
            except ValueError as error:
                # Being replaced just now, perhaps; the next probe reads it again.
                log.warning("the access token of %s cannot be read again: %s", self._destination, error)
        return self._secret.reveal() != refused
