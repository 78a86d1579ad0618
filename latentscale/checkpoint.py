"""Files in which long runs keep their finished pieces, one piece of JSON a line; reading one executes no code.

Lines are only appended. The first line describes the run to which the file belongs; every other line is one finished
piece. A run that is killed while it writes leaves a last line without its end, which is ignored and written again.
"""

import json
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, Self

from .errors import DataError

Pieces = dict[Any, Any]
"""The finished pieces of a run, by their numbers or names."""


class LineStore:
    """The file of a run, open for writing, with the finished pieces that it held when it was opened.

    Parameters
    ----------
    handle : binary file
        Open for writing, at the end of the last complete line.
    done : dict
        The finished pieces in it.
    """

    def __init__(self, handle: BinaryIO, done: Pieces) -> None:
        self.handle, self.done = handle, done

    @classmethod
    def open_lines(
        cls,
        path: str | PathLike[str],
        header: dict[str, Any],
        what: str,
        read_lines: Callable[[Path, list[bytes]], Pieces],
    ) -> Self:
        """Begin the file of a run, or continue one of the same run.

        Parameters
        ----------
        path : str or Path
        header : dict
            The first line, which describes the run.
        what : str
            What the file is a store of, used in messages.
        read_lines : callable
            Takes the path and the lines of the file, compares the first line with what it should be, and returns a dict
            of the finished pieces.

        Returns
        -------
        LineStore

        Raises
        ------
        DataError
            If the file cannot be read or written, or is no such store; also whatever ``read_lines`` raises.
        """
        path = Path(path)
        first = json.dumps(header, allow_nan=False).encode() + b"\n"
        try:
            content = path.read_bytes() if path.exists() else b""
            whole = content[: content.rfind(b"\n") + 1]
            if not whole and not first.startswith(content):
                raise DataError(f"{path} is not a store of {what}; give another file.")
            lines = whole.split(b"\n")[:-1]
            done = read_lines(path, lines) if lines else {}
            handle = open(path, "r+b" if path.exists() else "w+b")  # noqa: SIM115, closed when the run ends
        except OSError as error:
            raise DataError(f"The store {path} cannot be used: {error.strerror}.") from error
        handle.truncate(len(whole))
        handle.seek(len(whole))
        if not whole:
            handle.write(first)
            handle.flush()
        return cls(handle, done)

    def write_line(self, content: Any) -> None:
        """Append a finished piece and flush it, so that it is kept if the run is killed."""
        self.handle.write(json.dumps(content, allow_nan=False).encode() + b"\n")
        self.handle.flush()

    def close(self) -> None:
        """Close the file."""
        self.handle.close()


def read_header(
    path: str | PathLike[str], line: bytes, header: dict[str, Any], what: str
) -> tuple[dict[str, Any], list[str]]:
    """Read the first line of a file and compare it with the header of this run.

    Parameters
    ----------
    path : str or Path
        The file, for messages.
    line : bytes
        Its first line.
    header : dict
        The header of this run, with the keys format, format_version and fingerprint (a dict).
    what : str
        What the file is a store of, for messages.

    Returns
    -------
    first : dict
        The first line.
    differ : list of str
        What the two runs differ in: the entries of their fingerprints that are not equal.

    Raises
    ------
    DataError
        If the file has another format or version.
    """
    try:
        first = json.loads(line)
    except ValueError:
        first = None
    if not isinstance(first, dict) or first.get("format") != header["format"]:
        raise DataError(f"{path} is not a store of {what}; give another file.")
    if first.get("format_version") != header["format_version"]:
        raise DataError(
            f"{path} has format {first.get('format_version')}, this version of latentscale reads "
            f"{header['format_version']}; it was written by latentscale {first.get('latentscale')}."
        )
    given = first.get("fingerprint")
    fingerprint = given if isinstance(given, dict) else {}
    return first, [f"the {name}" for name, value in header["fingerprint"].items() if fingerprint.get(name) != value]


def require_same_run(path: str | PathLike[str], differ: Sequence[str]) -> None:
    """Raise a `DataError` if ``differ``, the list of what differs between a file's run and this one, is not empty."""
    if differ:
        raise DataError(f"The store {path} is of another run; these differ: {', '.join(differ)}. Give another file.")
