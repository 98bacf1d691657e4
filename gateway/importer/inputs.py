"""Input files: which are meant, their format, compression and text encoding, and the hash of their content."""

from __future__ import annotations

import codecs
import errno
import fcntl
import glob
import gzip
import hashlib
import io
import os
import sys
import zlib
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from gateway.importer.choices import FileFormat
from gateway.model import GatewayError

if TYPE_CHECKING:
    from collections.abc import Iterator

STDIN = "-"
REJECTED_SUFFIX = ".rejected.csv"
GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
BLOCK = 1024 * 1024
MAX_NUL_SHARE = 0.2
"""Share of NUL bytes from which on a text is taken for UTF-16 or UTF-32 without a byte order mark."""
BYTE_ORDER_MARKS = (  # UTF-32 first: its mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


_FORMATS = {
    ".csv": FileFormat.CSV,
    ".txt": FileFormat.CSV,
    ".tsv": FileFormat.TSV,
    ".tab": FileFormat.TSV,
    ".ndjson": FileFormat.NDJSON,
    ".jsonl": FileFormat.NDJSON,
    ".parquet": FileFormat.PARQUET,
}


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The content of a file."""

    digest: str
    """BLAKE2b of its bytes, in hexadecimal."""
    size: int
    modified_at: int
    """Nanoseconds, of the file when it was hashed."""


def expand(arguments: Sequence[str]) -> list[str]:
    """The files that are meant: patterns are expanded, and each file is listed once.

    Of several files, the file of rejected rows of another one is left out: a pattern such as `*.csv` matches it too.
    Raises `GatewayError` for a pattern without a match.
    """
    found: list[str] = []
    for argument in arguments:
        if argument == STDIN or Path(argument).exists() or not glob.has_magic(argument):
            found.append(argument)
            continue
        matches = sorted(glob.glob(argument, recursive=True))  # noqa: PTH207 (the pattern may be absolute)
        if not matches:
            raise GatewayError(f"{argument}: no file matches the pattern")
        found += matches
    unique = list({name if name == STDIN else str(Path(name).resolve()): name for name in found}.values())
    return [
        name for name in unique if not (name.endswith(REJECTED_SUFFIX) and name.removesuffix(REJECTED_SUFFIX) in unique)
    ]


def format_of(name: str) -> FileFormat:
    """The format that the name says. Raises `GatewayError` when it says none."""
    suffixes = [suffix.lower() for suffix in Path(name).suffixes]
    if suffixes and suffixes[-1] in {".gz", ".zst"}:
        suffixes.pop()
    if not suffixes or suffixes[-1] not in _FORMATS:
        shown = "standard input" if name == STDIN else name
        raise GatewayError(f"{shown}: the name does not say the format; give it with --format {', '.join(FileFormat)}")
    return _FORMATS[suffixes[-1]]


def open_binary(name: str) -> tuple[BinaryIO, BinaryIO]:
    """Open a file, and decompress it if it is compressed (by its first bytes).

    Returns the content, and the file as it is on the disk, whose position shows how much was read. Raises
    `GatewayError`.
    """
    try:
        file = sys.stdin.buffer if name == STDIN else open(name, "rb")  # noqa: SIM115, PTH123
        magic = cast("io.BufferedReader", file).peek(4)[:4]
    except OSError as error:
        raise GatewayError(f"cannot read {name}: {error.strerror}") from None
    if magic.startswith(GZIP_MAGIC):
        return cast("BinaryIO", gzip.GzipFile(fileobj=file)), cast("BinaryIO", file)
    if magic == ZSTD_MAGIC:
        return _open_zstd(name, cast("BinaryIO", file)), cast("BinaryIO", file)
    return cast("BinaryIO", file), cast("BinaryIO", file)


def _open_zstd(name: str, file: BinaryIO) -> BinaryIO:
    try:
        import pyarrow as pa  # noqa: PLC0415 (optional)
    except ImportError:
        raise missing_pyarrow(name, "zstd") from None
    return cast("BinaryIO", io.BufferedReader(pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd")))


def missing_pyarrow(name: str, what: str) -> GatewayError:
    """The error for a file that needs the optional package."""
    return GatewayError(
        f"{name}: reading {what} needs the package pyarrow; install it with "
        "`pip install 'offline-conversions-gateway[pyarrow]'`"
    )


def encoding_of(beginning: bytes, given: str | None) -> str:
    """The encoding of a text: as given, else by its byte order mark, else UTF-8."""
    if given is not None:
        return given
    return next((name for mark, name in BYTE_ORDER_MARKS if beginning.startswith(mark)), "utf-8")


def check_text(name: str, encoding: str | None) -> None:
    """Read a whole text once. Raises `GatewayError` with the line of the first byte that cannot be decoded.

    This also finds damaged compression. It takes a second or two for a gigabyte, and nothing is sent before it.
    """
    content, file = open_binary(name)
    with file, readable(name):
        block = content.read(BLOCK)
        if not block:
            raise GatewayError(f"{name}: the file is empty; expected column names in its first line, then rows")
        used = encoding_of(block, encoding)
        if used == "utf-8" and block.count(0) > len(block) * MAX_NUL_SHARE:
            raise GatewayError(
                f"{name}: the text has many NUL bytes; it is probably UTF-16 without a byte order mark. Give "
                "--encoding utf-16-le or utf-16-be"
            )
        decoder = codecs.getincrementaldecoder(used)()
        lines = 1
        while True:
            try:
                lines += decoder.decode(block, final=not block).count("\n")
            except UnicodeDecodeError as error:
                before = error.object[: error.start].decode(used, "ignore")
                raise _undecodable(name, lines + before.count("\n"), used) from None
            if not block:
                return
            block = content.read(BLOCK)


def _undecodable(name: str, line: int, encoding: str) -> GatewayError:
    return GatewayError(
        f"{name}, line {line}: an invalid byte for {encoding.removesuffix('-sig').upper()}. Give the encoding of the "
        "file, such as --encoding cp1252 (Windows, western Europe) or --encoding latin-1, or correct the line"
    )


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Turn the errors of reading a file into `GatewayError`."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise GatewayError(f"{name}: the compression is damaged or cut off ({error}); copy the file again") from None
    except UnicodeError:
        raise GatewayError(f"{name}: a byte that cannot be decoded; give --encoding") from None
    except OSError as error:
        raise GatewayError(f"cannot read {name}: {error.strerror or error}") from None


def fingerprint(name: str) -> Fingerprint:
    """The hash of a file. Raises `GatewayError`."""
    try:
        with open(name, "rb") as file:  # noqa: PTH123 (a name as the user gave it)
            status = os.fstat(file.fileno())
            digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=32)).hexdigest()
    except OSError as error:
        raise GatewayError(f"cannot read {name}: {error.strerror}") from None
    return Fingerprint(digest, status.st_size, status.st_mtime_ns)


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold a lock on a file, so that it is not imported twice at the same time. Raises `GatewayError`."""
    try:
        with open(name, "rb") as file:  # noqa: PTH123
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in {errno.EAGAIN, errno.EACCES}:
                    raise GatewayError(
                        f"{name}: another process is importing this file; wait until it has finished"
                    ) from None
                raise GatewayError(
                    f"{name}: the file cannot be locked ({error.strerror}); copy it to a local disk"
                ) from None
            yield
    except FileNotFoundError:
        raise GatewayError(f"cannot read {name}: it does not exist any more") from None


def check_unchanged(name: str, expected: Fingerprint) -> None:
    """Raise `GatewayError` when a file was changed since it was hashed."""
    status = Path(name).stat()
    if (status.st_size, status.st_mtime_ns) != (expected.size, expected.modified_at):
        raise GatewayError(f"{name}: the file was changed while it was read; run the command again")
