"""Finding, building and asking the native library."""

import ctypes
import itertools
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.files import check_writable
from hashbwn_keras.runtime import android, compiling


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "hashbwn_keras"


def _carried() -> Path:
    """Where a wheel that was built with a C compiler has the library."""
    return Path(__file__).with_name(compiling.LIBRARY)


@lru_cache
def delegate_path() -> Path:
    """The shared library with kernels and TFLite delegate for this machine.

    The one the wheel carries, else one built from the sources and kept in the user's cache folder
    (``$XDG_CACHE_HOME/hashbwn_keras``, one file per state of the sources).

    Raises:
        HashBWNError: there is none and none can be built.
    """
    if _carried().is_file():
        return _carried()
    root = compiling.source_root()
    if root is None:
        raise HashBWNError(
            "This installation has neither the native library nor its sources: reinstall "
            "hashbwn_keras."
        )
    cached = _cache_folder() / compiling.source_hash(root) / compiling.LIBRARY
    if not cached.is_file():
        try:
            cached.parent.mkdir(parents=True, exist_ok=True)
            compiling.compile_library(root, cached)
        except (compiling.CompileError, OSError) as error:
            raise HashBWNError(f"The native library cannot be built: {error}") from error
    return cached


def build(
    target: str | None = None,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> Path:
    """Builds the shared library for this or another machine.

    Args:
        target: ``"x86_64-linux"`` or ``"aarch64-linux"``; None for this machine. A target that is
            named runs from glibc 2.17 on where the ziglang package (the ``cross`` extra) is
            installed, which every machine but this one needs. ``"aarch64-android"`` and
            ``"x86_64-android"`` take the NDK that ``ANDROID_NDK_HOME`` names; without one,
            ziglang builds them experimentally (:mod:`hashbwn_keras.runtime.android`).
        out: where to put it; ``libhashbwn-<target>.so`` in the current folder by default.
        overwrite: whether a file at ``out`` may be replaced.

    Returns:
        The path written.

    Raises:
        HashBWNError: the target is not known, a compiler is missing or failed, or ``out`` cannot
            be written.
    """
    root = compiling.source_root()
    if root is None:
        raise HashBWNError("This installation has no C sources: reinstall hashbwn_keras.")
    name = f"libhashbwn-{target or compiling.host_target()}.so"
    path = check_writable(name if out is None else out, overwrite)
    try:
        if target in compiling.ANDROID:
            android.compile_library(root, path, target)
        else:
            compiling.compile_library(root, path, target)
    except compiling.CompileError as error:
        raise HashBWNError(str(error)) from error
    return path


@dataclass(frozen=True)
class LayerShape:
    """What decides whether the kernels are worth it for a layer.

    Attributes:
        convolution: or a Dense layer.
        float32: or int8 activations.
        outputs: output channels.
        kernel_h: rows of the kernel; 1 for Dense.
        kernel_w: columns of the kernel; 1 for Dense.
        inputs: input channels.
        bits: of a weight.
    """

    convolution: bool
    float32: bool
    outputs: int
    kernel_h: int
    kernel_w: int
    inputs: int
    bits: int


class Native:
    """What the library says about itself and this CPU."""

    def __init__(self, path: Path) -> None:
        """Loads the library at ``path``.

        Raises:
            HashBWNError: it cannot be loaded on this machine, or is no library of ours.
        """
        try:
            self._library = ctypes.CDLL(str(path))
            for name in ("hb_isa", "hashbwn_policy_isa", "hashbwn_worth"):
                getattr(self._library, name).restype = ctypes.c_char_p
        except (OSError, AttributeError) as error:
            raise HashBWNError(f"The native library {path} cannot be loaded: {error}") from error

    @property
    def kernels(self) -> str:
        """The name of the kernels in use, a line of ``tflite/kernels/isa.inc``."""
        return self._library.hb_isa().decode()

    @property
    def has_dot_product(self) -> bool:
        """Whether the CPU has 8-bit dot products, with which int8 convolutions mostly stay put."""
        return bool(self._library.hb_cpu_has_dot())

    @property
    def policy_sets(self) -> tuple[str, ...]:
        """The sets of kernels, of any machine, for which it is measured which layers they take."""
        names = map(self._library.hashbwn_policy_isa, itertools.count())
        return tuple(name.decode() for name in itertools.takewhile(bool, names))

    def worth(self, shape: LayerShape, kernels: str, dot_product: bool) -> str:
        """Return by which measurement a layer is taken on a CPU, "" where it is left as it is.

        Args:
            shape: of the layer.
            kernels: one of :attr:`policy_sets`; sets of any other name take nothing.
            dot_product: whether the CPU has 8-bit dot products.
        """
        sizes = (ctypes.c_int * 5)(
            shape.outputs, shape.kernel_h, shape.kernel_w, shape.inputs, shape.bits
        )
        found = self._library.hashbwn_worth(
            kernels.encode(), dot_product, shape.convolution, shape.float32, sizes
        )
        return found.decode() if found else ""

    def claimed(self) -> int:
        """Layers claimed by the delegate applied last in this thread."""
        return self._library.hashbwn_claimed()

    def unpacked(self) -> int:
        """Packed filters it unpacked for layers that the interpreter's own kernels run faster."""
        return self._library.hashbwn_unpacked()
