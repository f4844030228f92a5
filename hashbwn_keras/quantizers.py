"""The quantizer ``hash_sign``; see :mod:`hashbwn_keras.network.quantizers`."""

from hashbwn_keras.network.quantizers import (
    HashSign,
    Unclipped,
    hash_scale,
    hash_sign,
)

__all__ = [
    "HashSign",
    "Unclipped",
    "hash_scale",
    "hash_sign",
]
