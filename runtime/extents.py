"""Where a file has data: sparse files have holes, which read as zeros and need not be read at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator


def extents(descriptor: int, offset: int, length: int) -> Iterator[tuple[int, int, bool]]:
    """(start, end, is_hole) of the parts of bytes [offset, offset + length) of an open file, in order, none empty.

    Moves the file's position. A file system that knows no holes has data everywhere; so has what lies after the end of
    the file. Raises OSError if the file cannot be sought in.
    """
    end = offset + length
    while offset < end:
        data = min(_seek(descriptor, offset, os.SEEK_DATA, at_end=end), end)
        if data > offset:
            yield offset, data, True
        hole = min(_seek(descriptor, data, os.SEEK_HOLE, at_end=end), end) if data < end else end
        if hole > data:
            yield data, hole, False
        offset = hole


def _seek(descriptor: int, offset: int, whence: int, *, at_end: int) -> int:
    try:
        return os.lseek(descriptor, offset, whence)
    except OSError as error:
        if error.errno == errno.ENXIO:  # nothing of that kind up to the end of the file
            return at_end
        if error.errno in (errno.EINVAL, errno.EOPNOTSUPP):  # no such question can be asked here
            return offset if whence == os.SEEK_DATA else at_end
        raise


def is_hole(descriptor: int, offset: int, length: int) -> bool:
    """Whether bytes [offset, offset + length) of an open file lie in a hole. Raises OSError as `extents` does."""
    return length > 0 and next(extents(descriptor, offset, length)) == (offset, offset + length, True)
