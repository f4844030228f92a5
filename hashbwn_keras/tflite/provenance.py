"""What a file says about its own making, in a metadata entry that runtimes ignore."""

import json
from typing import Any

import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

NAME = b"hashbwn_keras"


def format_of(bits: int) -> int:
    """Return the version of docs/format.md that specifies filters of up to ``bits`` bits."""
    return 1 if bits <= 1 else 2


def write_provenance(model: schema.ModelT, content: dict[str, Any]) -> None:
    """Put ``content``, JSON-able, into the file, in place of what is there."""
    text = json.dumps(content, separators=(",", ":"), sort_keys=True).encode()
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(text, np.uint8)
    model.buffers.append(buffer)
    entry = schema.MetadataT()
    entry.name, entry.buffer = NAME, len(model.buffers) - 1
    model.metadata = [old for old in model.metadata or [] if old.name != NAME] + [entry]


def read_provenance(model: schema.ModelT) -> dict[str, Any]:
    """Return what :func:`write_provenance` put there, {} where nothing readable is."""
    for entry in model.metadata or []:
        if entry.name == NAME and 0 <= entry.buffer < len(model.buffers):
            data = model.buffers[entry.buffer].data
            try:
                content = json.loads(bytes(np.asarray(data, np.uint8)))
            except (TypeError, ValueError, RecursionError):
                return {}
            return content if isinstance(content, dict) else {}
    return {}
