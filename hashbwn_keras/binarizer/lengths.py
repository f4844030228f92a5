"""How many bits a weight each layer gets."""

import re
from collections.abc import Mapping

from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.network.quantizers import check_bits

Bits = int | Mapping[str, int | str]
"""One length for all layers, or a length or "float" for each regular expression of labels."""

FLOAT = "float"


class Lengths:
    """What ``bits`` says of each layer.

    Args:
        bits: as ``binarize`` takes it.

    Raises:
        HashBWNError: not such a value.
    """

    def __init__(self, bits: Bits) -> None:
        self._others = 1 if isinstance(bits, Mapping) else check_bits(bits)
        self._patterns: list[tuple[re.Pattern[str], int | str]] = []
        for pattern, length in bits.items() if isinstance(bits, Mapping) else ():
            try:
                compiled = re.compile(pattern)
            except (re.error, TypeError) as error:
                raise HashBWNError(
                    f"bits names layers by {pattern!r}, which is no regular expression ({error}): "
                    "mend it."
                ) from None
            self._patterns.append((compiled, length if length == FLOAT else check_bits(length)))

    def asked(self, label: str) -> int | str | None:
        """What is asked for the layer by name, by the first pattern that fits; None if nothing."""
        return next((n for pattern, n in self._patterns if pattern.search(label)), None)

    def of(self, label: str) -> int:
        """The length of the codes of a layer that is binarised."""
        asked = self.asked(label)
        return asked if isinstance(asked, int) else self._others

    def check_used(self, labels: list[str]) -> None:
        """Refuse a pattern that fits none of ``labels``, the layers with a kernel."""
        for pattern, _ in self._patterns:
            if not any(pattern.search(label) for label in labels):
                raise HashBWNError(
                    f"bits names layers by {pattern.pattern!r}, which fits no layer with a "
                    f"kernel: choose from {', '.join(labels)}."
                )
