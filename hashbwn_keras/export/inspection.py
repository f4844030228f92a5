"""inspect: what a .tflite file holds, layer by layer, and the codes and scales in it."""

import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hashbwn_keras.files import read_file
from hashbwn_keras.tflite.attached import attached_names
from hashbwn_keras.tflite.filters import Filter, filter_names, read_filters
from hashbwn_keras.tflite.names import Storage
from hashbwn_keras.tflite.provenance import read_provenance
from hashbwn_keras.tflite.storage import Placed, packing_summary, why_kept
from hashbwn_keras.tflite.subgraph import operator_histogram


@dataclass
class LayerRecord:
    """One filter of a file.

    Attributes:
        name: the Keras layer, where the file says so, else the tensor's name, else its index.
        operator: the operator that uses the filter.
        shape: of the filter, as TFLite has it: OHWI, 1HWO (depthwise) or OI.
        storage: "float32", "float16", "int8", "int8-dequantize", "packed", "lce",
            "lce-dequantize" or "other"; see docs/format.md.
        nbytes: bytes of the constants that hold it, scales included.
        bits_per_weight: the same per weight.
        binary: whether every output channel holds codes times one α: −α and +α with one bit.
        bits: of a code; 0 for filters that are not binary.
        kept: why a binary filter takes more than its bits a weight; "" where it does not.
        codes: int8 odd levels in ``shape``, ±1 with one bit; None for filters that are not binary.
        scales: float32 α per output channel, or None. Of ``LceBconv2d`` they are the output
            multipliers, batch-norm folded in, or ones where it compares with thresholds.
    """

    name: str
    operator: str
    shape: tuple[int, ...]
    storage: Storage
    nbytes: int
    bits_per_weight: float
    binary: bool
    bits: int = 0
    kept: str = ""
    codes: np.ndarray | None = field(default=None, repr=False)
    scales: np.ndarray | None = field(default=None, repr=False)


@dataclass
class Inspection:
    """The report of :func:`inspect`.

    Attributes:
        nbytes: size of the file.
        layers: one record per filter, in the order of execution.
        operators: number of operators by name.
        provenance: what the file says about its making; {} if nothing.
        attached: names of the files packed behind it, such as labels.
    """

    nbytes: int
    layers: list[LayerRecord]
    operators: dict[str, int]
    provenance: dict[str, Any]
    attached: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the codes as plain JSON-able values; of the scales, the range."""
        layers = []
        for layer in self.layers:
            record = {k: v for k, v in vars(layer).items() if k not in ("codes", "scales")}
            if layer.scales is not None:
                record["scale_min"] = float(layer.scales.min())
                record["scale_max"] = float(layer.scales.max())
            layers.append({**record, "shape": list(layer.shape)})
        return {**vars(self), "layers": layers}

    def __str__(self) -> str:
        """Return a table of the layers and a summary."""
        rows = [("layer", "operator", "shape", "storage", "bytes", "bits/weight", "α")]
        for layer in self.layers:
            alpha = (
                "" if layer.scales is None else f"{layer.scales.min():.3g}–{layer.scales.max():.3g}"
            )
            shape = "×".join(map(str, layer.shape))
            bits = f"{layer.bits_per_weight:.2f}"
            size = f"{layer.nbytes:,}"
            rows.append((layer.name, layer.operator, shape, layer.storage, size, bits, alpha))
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = [
            "  ".join(
                cell.rjust(width) if i in (4, 5) else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        binary = [layer for layer in self.layers if layer.binary]
        weights = sum(int(np.prod(layer.shape)) for layer in binary)
        if binary:
            lines.append(packing_summary(Placed(x.name, x.bits, x.storage, x.kept) for x in binary))
        average = 8 * sum(layer.nbytes for layer in binary) / max(weights, 1)
        lines.append(
            f"{self.nbytes:,} bytes; {len(binary)} of {len(self.layers)} layers binary, "
            f"{weights:,} weights at {average:.2f} bits"
        )
        lines.append(", ".join(f"{count} {name}" for name, count in self.operators.items()))
        if self.attached:
            lines.append(f"packed behind it: {', '.join(self.attached)}")
        lines += [
            f"{key}: {value}"
            for key, value in self.provenance.items()
            if key not in ("layers", "bits", "recipe")
        ]
        recipe = self.provenance.get("recipe", {})
        lines += [f"recipe {k}: {v}" for k, v in recipe.items() if not isinstance(v, dict | list)]
        return "\n".join(lines)


def inspect(path_or_bytes: bytes | str | os.PathLike[str]) -> Inspection:
    """Read a .tflite file, whoever wrote it: layers, storage, bits, codes, scales, provenance.

    Args:
        path_or_bytes: the file or its content.

    Raises:
        HashBWNError: no such file, no .tflite file, or a damaged one.
    """
    content, name = read_file(path_or_bytes)
    model, filters = read_filters(content, name)
    provenance = read_provenance(model)
    names = filter_names(provenance, filters)
    return Inspection(
        nbytes=len(content),
        layers=[_record(found, given) for found, given in zip(filters, names, strict=True)],
        operators=operator_histogram(model),
        provenance=dict(provenance.content),
        attached=attached_names(content),
    )


def _record(found: Filter, name: str) -> LayerRecord:
    return LayerRecord(
        name=name,
        operator=found.kind.name,
        shape=found.shape,
        storage=found.storage,
        nbytes=found.nbytes,
        bits_per_weight=8 * found.nbytes / max(found.size, 1),
        binary=found.binary,
        bits=found.bits,
        kept=why_kept(found),
        codes=found.codes if found.binary else None,
        scales=found.scales if found.binary else None,
    )
