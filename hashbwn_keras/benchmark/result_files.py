"""Result files: ours and those of ``litert-benchmark``, read with care and written whole."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from hashbwn_keras.benchmark.results import (
    SCHEMA,
    Delegate,
    Device,
    Latency,
    Memory,
    Result,
    Runtime,
    State,
)
from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.files import atomic_write

_PARTS = {
    "latency": Latency,
    "device": Device,
    "runtime": Runtime,
    "delegate": Delegate,
    "state": State,
    "memory": Memory,
}
_LARGEST = 1e300
"""No number in a result is larger; NaN is not smaller either."""
_Part = TypeVar("_Part")


def sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def save(results: Iterable[Result], path: str | os.PathLike[str], overwrite: bool = False) -> Path:
    """Write results as JSON: ``{"schema": 1, "results": [...]}``.

    Raises:
        HashBWNError: as :func:`hashbwn_keras.files.atomic_write`.
    """
    content = {"schema": SCHEMA, "results": [result.to_dict() for result in results]}
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    return atomic_write(path, text.encode(), overwrite)


def load(path: str | os.PathLike[str]) -> list[Result]:
    """Read a result file of this project or of ``litert-benchmark``.

    Raises:
        HashBWNError: the file is missing, no JSON, or no benchmark result.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise HashBWNError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise HashBWNError(f"{path} is not JSON: {error}.") from error
    if not isinstance(content, Mapping) or not ("results" in content or "latency" in content):
        raise HashBWNError(f"{path} is no benchmark result: it has neither results nor latency.")
    entries = content.get("results", [content])
    if not isinstance(entries, list) or not entries:
        raise HashBWNError(f"{path} holds no results: measure again with --json.")
    try:
        return [from_dict(entry) for entry in entries]
    except HashBWNError as error:
        raise HashBWNError(f"{path}: {error}") from error


def from_dict(content: Any) -> Result:
    """Read what :meth:`Result.to_dict` or ``litert-benchmark --result_json`` wrote.

    Raises:
        HashBWNError: a field is missing, of the wrong kind, or not a possible value.
    """
    if not isinstance(content, Mapping) or not isinstance(content.get("latency"), Mapping):
        raise HashBWNError(
            'This is no benchmark result: it has no "latency"; give a file that hashbwn '
            "benchmark --json or litert-benchmark --result_json wrote."
        )
    if content.get("schema", SCHEMA) != SCHEMA:
        raise HashBWNError(
            f"The benchmark result has schema {content['schema']!r}, this version reads "
            f"{SCHEMA}: use the hashbwn_keras that wrote it."
        )
    parts: dict[str, Any] = {
        name: _build(kind, content.get(name, {})) for name, kind in _PARTS.items()
    }
    if "schema" not in content:  # written by litert-benchmark itself
        parts["runtime"] = Runtime("litert", "", "litert-benchmark")
        content = dict(content) | {"model": os.path.basename(str(content.get("model", "")))}
    result = _build(Result, dict(content) | parts)
    _check(result)
    return result


def _build(kind: type[_Part], content: Any) -> _Part:
    if not isinstance(content, Mapping):
        raise HashBWNError(
            f"The benchmark result holds {_short(content)} where it needs an object."
        )
    hints = get_type_hints(kind)
    values = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in content.items()
        if name in hints
    }
    for name, value in values.items():
        if not _fits(value, hints[name]):
            raise HashBWNError(
                f"The benchmark result has {name} = {_short(value)}: it must be "
                f"{_words(hints[name])}."
            )
    try:
        return kind(**values)
    except TypeError as error:
        raise HashBWNError(f"The benchmark result is incomplete: {error}.") from error


def _fits(value: Any, hint: Any) -> bool:
    """Tell whether a value out of JSON is of the type that a field of a dataclass has."""
    kind, options = get_origin(hint), get_args(hint)
    if kind in (Union, UnionType):
        return any(_fits(value, option) for option in options)
    if kind is Literal:
        return isinstance(value, str) and value in options
    if kind is tuple:
        if not isinstance(value, tuple):
            return False
        wanted = [options[0]] * len(value) if options[-1] is Ellipsis else options
        return len(value) == len(wanted) and all(map(_fits, value, wanted))
    if hint in (int, float):
        number = isinstance(value, int if hint is int else int | float)
        return number and not isinstance(value, bool) and -_LARGEST < value < _LARGEST
    return isinstance(value, hint)


def _words(hint: Any) -> str:
    name = hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")
    return name.replace("NoneType", "None")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _check(result: Result) -> None:
    if not result.model:
        raise HashBWNError('The benchmark result does not name its "model".')
    latency = asdict(result.latency)
    for name, value in latency.items():
        values = value if isinstance(value, tuple) else (value,)
        if name.endswith("_ms") and any(ms is not None and ms < 0 for ms in values):
            raise HashBWNError(
                f"The benchmark result of {result.model} has {name} = {_short(value)}: it must be "
                "milliseconds, 0 or more."
            )
    for name, value in (("num_runs", latency["num_runs"]), ("num_threads", result.num_threads)):
        if value < 1:
            raise HashBWNError(
                f"The benchmark result of {result.model} has {name} = {value}: it must be 1 or "
                "more."
            )
