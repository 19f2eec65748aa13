"""Rows of a damaged SQLite file, read page by page: no header, schema or tree is needed, only the pages that hold rows.

The layout is that of https://www.sqlite.org/fileformat2.html (1.6 B-tree pages, 2 record format).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

Value = int | float | str | bytes | None
_LEAF = 0x0D  # the type of a page that holds rows of a table
_SIZE = 4096  # SQLite's page size where the header does not tell
_HEADER = 100  # bytes of the file's header, on the first page
_INTEGER_BYTES = (0, 1, 2, 3, 4, 6, 8)


def rows_in(raw: bytes) -> Iterator[tuple[int, tuple[Value, ...]]]:
    """Give every row that can be read, (row number, values), of whatever table, in the order of the pages.

    Parameters
    ----------
    raw : bytes
        An SQLite file, or what is left of one. What was deleted is left out as far as pages tell.
    """
    size = int.from_bytes(raw[16:18], "big")
    if size < 512 or size & (size - 1):
        size = _SIZE
    usable = size - (raw[20] if len(raw) > 20 and raw[20] <= 32 else 0)
    for start in range(0, len(raw), size):
        page = raw[start : start + size]
        at = _HEADER if start == 0 else 0
        if len(page) < at + 8 or page[at] != _LEAF:
            continue
        for number in range(int.from_bytes(page[at + 3 : at + 5], "big")):
            pointer = at + 8 + 2 * number
            if pointer + 2 > len(page):
                break
            try:
                row = _cell(raw, page, int.from_bytes(page[pointer : pointer + 2], "big"), size, usable)
            except (IndexError, ValueError, struct.error):  # UnicodeDecodeError is a ValueError
                continue
            yield row


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    """Return a number of up to nine bytes, and where it ends."""
    value = 0
    for count in range(8):
        byte = raw[at + count]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + count + 1
    value = value << 8 | raw[at + 8]
    return value - (1 << 64) if value >> 63 else value, at + 9


def _cell(raw: bytes, page: bytes, at: int, size: int, usable: int) -> tuple[int, tuple[Value, ...]]:
    length, at = _varint(page, at)
    number, at = _varint(page, at)
    if not 0 < length <= len(raw):
        raise ValueError("longer than the file")
    local = length
    if length > usable - 35:  # the rest of the row is in a chain of overflow pages
        least = (usable - 12) * 32 // 255 - 23
        local = least + (length - least) % (usable - 4)
        local = least if local > usable - 35 else local
    content = page[at : at + local]
    following = int.from_bytes(page[at + local : at + local + 4], "big") if local < length else 0
    while len(content) < length:
        if not following or len(chunk := raw[(following - 1) * size : (following - 1) * size + usable]) < 5:
            raise ValueError("cut short")
        content += chunk[4:]
        following = int.from_bytes(chunk[:4], "big")
    return number, _values(content[:length])


def _values(content: bytes) -> tuple[Value, ...]:
    """Return the values of a row."""
    end, at = _varint(content, 0)
    kinds, values, place = [], [], end
    if not 0 < end <= len(content):
        raise ValueError("no row")
    while at < end:
        kind, at = _varint(content, at)
        kinds.append(kind)
    for kind in kinds:
        value: Value
        if kind < 7:
            length = _INTEGER_BYTES[kind]
            value = int.from_bytes(content[place : place + length], "big", signed=True) if kind else None
        elif kind == 7:
            length, value = 8, struct.unpack(">d", content[place : place + 8])[0]
        elif kind in (8, 9):
            length, value = 0, kind - 8
        elif kind >= 12:
            length = (kind - 12) // 2
            blob = content[place : place + length]
            value = blob.decode() if kind % 2 else blob
        else:
            raise ValueError("a kind of value that is not used")
        place += length
        values.append(value)
    if place != len(content):
        raise ValueError("longer or shorter than it says")
    return tuple(values)
