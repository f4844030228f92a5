"""The native library for a device, built if need be."""

import platform
from pathlib import Path

from hashbwn_keras.benchmark.results import Device


def for_device(device: Device, folder: Path) -> Path:
    """Return the path of a delegate library that the device can load.

    Args:
        device: as the device describes itself.
        folder: where a library for another kind of machine is built.

    Raises:
        HashBWNError: there is none for this kind of device, or it cannot be built here.
    """
    from hashbwn_keras import runtime

    if device.os.startswith("Android"):
        return _built(f"{device.arch}-android", folder)
    if device.arch == platform.machine():
        return Path(runtime.delegate_path())
    return _built(f"{device.arch}-linux", folder)


def _built(target: str, folder: Path) -> Path:
    from hashbwn_keras import runtime

    path = folder / f"libhashbwn-{target}.so"
    return path if path.is_file() else runtime.build(target, path)
