"""Logging to stderr: one record, one line, whatever is in it.

A record says what happened in a fixed sentence and the rest in fields, so that it can be searched for:

    log.info("registered", extra={"fields": {"resource": "amd.com/gpu", "devices": 8}})

    2026-01-31T12:00:00.000Z INFO registrar: registered resource=amd.com/gpu devices=8
    {"time": "2026-01-31T12:00:00.000Z", "level": "info", "logger": "amdgpu_plugin.kubelet.registrar",
     "message": "registered", "fields": {"resource": "amd.com/gpu", "devices": 8}}     (in one line)
"""

import contextlib
import json
import logging
import math
import os
import queue
import sys
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Literal, TextIO

PACKAGE = "amdgpu_plugin"

VALUE_LIMIT = 4000
"""Characters of one field in a line of text: a line is for people, and a log has no use for a megabyte."""

QUEUED_LINES = 10_000
LAST_LINES_SECONDS = 1.0

_HANDLER = "amdgpu-plugin"


def configure(level: str, log_format: Literal["text", "json"], stream: TextIO | None = None) -> None:
    """Everything of ours from `level` (debug, info, warning, error) on, of libraries from warning on.

    Goes to `stream`, by default what sys.stderr is now. Called again it takes the place of the first call.
    """
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.set_name(_HANDLER)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers = [*(other for other in root.handlers if other.get_name() != _HANDLER), handler]
    root.setLevel(max(logging.WARNING, level_number(level)))
    logging.getLogger(PACKAGE).setLevel(level_number(level))


@contextlib.contextmanager
def unhurried() -> Iterator[None]:
    """While it lasts, a log that nobody reads holds up a thread of its own and never who logs.

    Lines beyond QUEUED_LINES are dropped and counted. At the end the rest is written for LAST_LINES_SECONDS
    at most.
    """
    root = logging.getLogger()
    before = root.handlers
    queued = [_Queued(handler) if handler.get_name() == _HANDLER else handler for handler in before]
    root.handlers = queued
    try:
        yield
    finally:
        for handler in queued:
            if isinstance(handler, _Queued):
                handler.close()
        root.handlers = before


class _Queued(logging.Handler):
    """Formats where a record is made, and leaves the writing to a thread."""

    def __init__(self, target: logging.Handler) -> None:
        super().__init__()
        self.set_name(target.get_name())
        self.setFormatter(target.formatter)
        self._stream: TextIO = getattr(target, "stream", sys.stderr)
        self._lines: queue.Queue[str | None] = queue.Queue(QUEUED_LINES)
        self._dropped = 0
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Never waits."""
        try:
            self._lines.put_nowait(self.format(record))
        except queue.Full:
            self._dropped += 1
        except Exception:  # noqa: BLE001 - what cannot be formatted is the logging module's to tell
            self.handleError(record)

    def close(self) -> None:
        """Let what is queued be written, as far as that goes in LAST_LINES_SECONDS."""
        with contextlib.suppress(queue.Full):
            self._lines.put(None, timeout=LAST_LINES_SECONDS)
            self._thread.join(LAST_LINES_SECONDS)
        super().close()

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            dropped, self._dropped = self._dropped, 0
            lines = [line] if not dropped else [line, self._dropping(dropped)]
            # a closed or broken stderr ends the log, not the daemon
            with contextlib.suppress(OSError, ValueError):
                self._put("".join(f"{each}\n" for each in lines))

    def _put(self, text: str) -> None:
        """Past Python's buffer: its lock, held by a write that never ends, would keep us from ending."""
        try:
            descriptor = self._stream.fileno()
        except OSError:
            self._stream.write(text)
            return
        rest = text.encode(errors="backslashreplace")
        while rest:
            rest = rest[os.write(descriptor, rest) :]

    def _dropping(self, count: int) -> str:
        record = logging.makeLogRecord(
            {
                "name": f"{PACKAGE}.logs",
                "levelno": logging.WARNING,
                "levelname": "WARNING",
                "msg": "lines were dropped: nobody read the log",
                "fields": {"lines": count},
            }
        )
        return self.format(record)


def level_number(level: str) -> int:
    """What the logging module calls it."""
    return logging.getLevelNamesMapping()[level.upper()]


class TextFormatter(logging.Formatter):
    """`TIME LEVEL where: message key=value …`; where is the logger's last part."""

    def format(self, record: logging.LogRecord) -> str:
        """One line. A traceback becomes the field `exception`, its line ends escaped."""
        where = record.name.rpartition(".")[2]
        fields = "".join(f" {_escaped(key)}={_text(value)}" for key, value in _fields(self, record).items())
        return (
            f"{_time(record)} {record.levelname} {_escaped(where)}: {_escaped(record.getMessage())}{fields}"
        )


class JsonFormatter(logging.Formatter):
    """One JSON object in ASCII. `fields` is there when the record has some."""

    def format(self, record: logging.LogRecord) -> str:
        """One line: time (RFC 3339, UTC), level, logger, message, fields."""
        said: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields = {key: _json_value(value) for key, value in _fields(self, record).items()}
        return json.dumps(said | ({"fields": fields} if fields else {}))


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _fields(formatter: logging.Formatter, record: logging.LogRecord) -> dict[str, object]:
    given = getattr(record, "fields", None)
    fields = {str(key): value for key, value in given.items()} if isinstance(given, Mapping) else {}
    if record.exc_info:
        fields["exception"] = formatter.formatException(record.exc_info)
    if record.stack_info:
        fields["stack"] = record.stack_info
    return fields


def _text(value: object) -> str:
    """A value as it stands in a line; quoted when it could be taken for more than one."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = ",".join(str(item) for item in value) if isinstance(value, list | tuple) else str(value)
    if len(text) > VALUE_LIMIT:
        text = f"{text[:VALUE_LIMIT]}… ({len(text)} characters)"
    if text and text.isprintable() and not set(text) & set(' "=\\'):
        return text
    return '"' + _escaped(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def _json_value(value: object) -> object:
    """JSON's own types stay what they are; everything else is said in words, NaN and infinity too."""
    if isinstance(value, list | tuple):
        return [_json_value(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _escaped(text: str) -> str:
    """Without line ends, control characters, or what would turn the direction of writing."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _escape(character) for character in text)


def _escape(character: str) -> str:
    short = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character)
    number = ord(character)
    return short or (f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}")  # noqa: PLR2004 - 4 digits
