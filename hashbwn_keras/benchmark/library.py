"""The native library for a device, built if need be."""

import platform
from pathlib import Path

from hashbwn_keras.benchmark.schema import Device
from hashbwn_keras.errors import HashBWNError


def for_device(device: Device, here: bool) -> Path:
    """Return the path of a delegate library that the device can load.

    Raises:
        HashBWNError: there is none for this kind of device, or it cannot be built here.
    """
    from hashbwn_keras import runtime

    system = "android" if device.os.startswith("Android") else "linux"
    if here or (system == "linux" and device.arch == platform.machine()):
        return Path(runtime.delegate_path())
    raise HashBWNError(f"no library for {device.arch}-{system}")
