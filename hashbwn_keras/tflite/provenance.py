"""What a file says about its own making, in a metadata entry that runtimes ignore."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

NAME = b"hashbwn_keras"


@dataclass(frozen=True)
class Provenance:
    """What a file says about its making; of files of others, nothing.

    Attributes:
        content: everything, as the file has it.
    """

    content: Mapping[str, Any]

    @property
    def layers(self) -> list[str]:
        """Names of the layers of its filters, in order; [] where it does not say."""
        return self._names("layers")

    @property
    def inputs(self) -> list[str]:
        """Names of its inputs in the order of the Keras model; [] where it does not say."""
        return self._names("inputs")

    @property
    def outputs(self) -> list[str]:
        """Names of its outputs in the order of the Keras model; [] where it does not say."""
        return self._names("outputs")

    def _names(self, key: str) -> list[str]:
        said = self.content.get(key)
        return [str(name) for name in said] if isinstance(said, list) else []


def format_of(bits: int) -> int:
    """Return the version of docs/format.md that specifies filters of up to ``bits`` bits."""
    return 1 if bits <= 1 else 2


def write_provenance(model: schema.ModelT, content: Mapping[str, Any]) -> None:
    """Put ``content``, JSON-able, into the file, in place of what is there."""
    text = json.dumps(dict(content), separators=(",", ":"), sort_keys=True).encode()
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(text, np.uint8)
    model.buffers.append(buffer)
    entry = schema.MetadataT()
    entry.name, entry.buffer = NAME, len(model.buffers) - 1
    model.metadata = [old for old in model.metadata or [] if old.name != NAME] + [entry]


def read_provenance(model: schema.ModelT) -> Provenance:
    """Return what :func:`write_provenance` put there, nothing where nothing readable is."""
    for entry in model.metadata or []:
        if entry.name == NAME and 0 <= entry.buffer < len(model.buffers):
            data = model.buffers[entry.buffer].data
            try:
                content = json.loads(bytes(np.asarray(data, np.uint8)))
            except (TypeError, ValueError, RecursionError):
                return Provenance({})
            return Provenance(content if isinstance(content, dict) else {})
    return Provenance({})
