"""Append-only files of JSON lines in which long runs keep what is finished; reading one executes nothing.

The first line says of which run the file is; every other line is one finished piece. A last line without its end is
what a killed run leaves; it is ignored, and written anew.
"""

import json
from pathlib import Path

from .errors import DataError


class LineStore:
    """A file of a run, open for writing, with what was in it.

    Attributes
    ----------
    done : dict
        The finished pieces that were in it.
    """

    def __init__(self, handle, done):
        self.handle, self.done = handle, done

    @classmethod
    def open_lines(cls, path, header, what, read_lines):
        """Begin a file, or go on with one that is of the same run.

        Parameters
        ----------
        path : str or Path
        header : dict
            The first line.
        what : str
            What the file is a store of, for messages.
        read_lines : callable
            (path, lines) -> dict of the finished pieces, after comparing the first line with what it should be.

        Raises
        ------
        DataError
            If the file cannot be read or written, or is something else; and whatever ``read_lines`` raises.
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

    def write_line(self, content):
        """Append a finished piece, at once so that a killed run has it."""
        self.handle.write(json.dumps(content, allow_nan=False).encode() + b"\n")
        self.handle.flush()

    def close(self):
        """Let go of the file."""
        self.handle.close()


def read_header(path, line, header, what):
    """The first line of a file, if it is of this format: dict, and the names of the fingerprints that differ.

    Raises
    ------
    DataError
        If it is of another format or version.
    """
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if not isinstance(found, dict) or found.get("format") != header["format"]:
        raise DataError(f"{path} is not a store of {what}; give another file.")
    if found.get("format_version") != header["format_version"]:
        raise DataError(
            f"{path} has format {found.get('format_version')}, this version of latentscale reads "
            f"{header['format_version']}; it was written by latentscale {found.get('latentscale')}."
        )
    prints = found.get("fingerprint") if isinstance(found.get("fingerprint"), dict) else {}
    return found, [f"the {name}" for name, value in header["fingerprint"].items() if prints.get(name) != value]


def require_same_run(path, differ):
    """Refuse a file of another run, of which ``differ`` lists what differs."""
    if differ:
        raise DataError(f"The store {path} is of another run; these differ: {', '.join(differ)}. Give another file.")
