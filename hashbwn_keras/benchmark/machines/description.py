"""What a machine is and how it is doing, asked by a shell script."""

from dataclasses import dataclass

from hashbwn_keras.benchmark.machines import readings
from hashbwn_keras.benchmark.results import Device, State
from hashbwn_keras.errors import HashBWNError

# Prints "== key" and the value's lines. A command that a system lacks leaves its section empty.
DESCRIBE = """
say() { echo "== $1"; shift; "$@" 2>/dev/null; }
say arch uname -m
say kernel uname -sr
say bits getconf LONG_BIT
say abi getprop ro.product.cpu.abi
say product getprop ro.product.model
say android getprop ro.build.version.release
say emulator getprop ro.kernel.qemu
say board cat /proc/device-tree/model
say machine cat /sys/devices/virtual/dmi/id/product_name
say release sed -n 's/^PRETTY_NAME=//p' /etc/os-release
say cpu sed -n '/^model name/{s/.*: //p;q;}' /proc/cpuinfo
say implementer grep -m 1 'CPU implementer' /proc/cpuinfo
say soc getprop ro.soc.model
say cores nproc
say governor cat /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor
say max_khz cat /sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq
"""
STATE = """
say() { echo "== $1"; shift; "$@" 2>/dev/null; }
say vc_temp vcgencmd measure_temp
say vc_throttled vcgencmd get_throttled
say zone cat /sys/class/thermal/thermal_zone0/temp
say thermal dumpsys thermalservice
say battery dumpsys battery
say load cat /proc/loadavg
say khz cat /sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq
"""


def device(text: str, on: str, title: str) -> Device:
    """Read what :data:`DESCRIBE` printed.

    Args:
        text: its output.
        on: the target as given to ``--on``.
        title: how messages name the machine.

    Raises:
        HashBWNError: it runs a 32-bit system.
    """
    found = readings.sections(text)

    def said(key: str) -> str:
        return found.get(key, "")

    arch, abi = said("arch"), said("abi")
    # A 64-bit kernel may run 32-bit programs.
    if "64" not in (abi or arch) or said("bits") == "32":
        raise HashBWNError(
            f"{title} runs a 32-bit system ({abi or arch}), and LiteRT, Larq Compute Engine and "
            "this project's library are built for 64 bit: install the 64-bit system."
        )
    android = said("android")
    arm = arch.startswith(("aarch64", "arm"))
    khz = readings.number(said("max_khz"))
    return Device(
        on=on,
        name=(said("product") or said("board") or said("machine")).strip("\0 "),
        arch=arch,
        bits=64,
        os=f"Android {android}" if android else said("release").strip('"') or said("kernel"),
        cpu=said("cpu") or said("soc"),
        cores=int(said("cores")) if said("cores").isdigit() else None,
        governor=said("governor"),
        emulated=said("emulator") == "1" or (arm and not said("implementer")),
        system="android" if android else "linux" if said("kernel").startswith("Linux") else "",
        max_clock_mhz=None if khz is None else khz / 1000,
    )


@dataclass(frozen=True)
class Moment:
    """How a machine is doing at one time; see :class:`hashbwn_keras.benchmark.results.State`."""

    temperature_c: float | None = None
    throttled: str = ""
    battery_percent: int | None = None
    charging: bool | None = None
    load: float | None = None
    clock_mhz: float | None = None


def moment(text: str) -> Moment:
    """Read what :data:`STATE` printed."""
    found = readings.sections(text)

    def said(key: str) -> str:
        return found.get(key, "")

    degrees = [readings.temperature(said(key)) for key in ("vc_temp", "thermal", "zone")]
    percent, charging = readings.battery(said("battery"))
    khz = readings.number(said("khz"))
    return Moment(
        next((value for value in degrees if value is not None), None),
        readings.throttled(said("vc_throttled") or said("thermal")),
        percent,
        charging,
        readings.number(said("load")),
        None if khz is None else khz / 1000,
    )


def between(before: Moment, after: Moment) -> State:
    """Join the states before and after a measurement."""
    return State(
        (before.temperature_c, after.temperature_c),
        (before.throttled, after.throttled),
        before.battery_percent,
        before.charging,
        (before.load, after.load),
        (before.clock_mhz, after.clock_mhz),
    )
