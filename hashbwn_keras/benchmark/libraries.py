"""The native library that goes with a file to a device."""

import platform
import struct
from pathlib import Path

from hashbwn_keras.benchmark.results import Device
from hashbwn_keras.errors import HashBWNError

_ELF_MACHINES = {62: "x86_64", 183: "aarch64", 40: "arm", 3: "x86", 243: "riscv"}


def for_device(device: Device, folder: Path) -> Path:
    """Return the path of our library for a device, built if need be.

    Args:
        device: as the device describes itself.
        folder: where a library for another kind of machine is built.

    Raises:
        HashBWNError: there is none for this kind of device, or it cannot be built here.
    """
    from hashbwn_keras import runtime

    if device.system == "android":
        return _built(f"{device.arch}-android", folder)
    if device.arch == platform.machine():
        return Path(runtime.delegate_path())
    return _built(f"{device.arch}-linux", folder)


def _built(target: str, folder: Path) -> Path:
    from hashbwn_keras import runtime

    path = folder / f"libhashbwn-{target}.so"
    return path if path.is_file() else runtime.build(target, path)


def matching(library: Path, device: Device) -> Path:
    """Return ``library``, which is for the device's processor.

    Raises:
        HashBWNError: it is not, or no shared library.
    """
    try:
        head = library.read_bytes()[:20]
    except OSError as error:
        raise HashBWNError(f"--delegate {library} cannot be read: {error.strerror}.") from error
    if len(head) < 20 or head[:4] != b"\x7fELF":
        raise HashBWNError(f"--delegate {library} is no shared library: give a .so file.")
    arch = _ELF_MACHINES.get(struct.unpack_from("<H", head, 18)[0], "another processor")
    if arch != device.arch:
        raise HashBWNError(
            f"--delegate {library} is built for {arch}, the device is {device.arch}: build it with "
            f"hashbwn doctor --build {device.arch}-linux."
        )
    return library
