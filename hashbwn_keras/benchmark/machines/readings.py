"""Reading what a device says about itself."""

import re

from hashbwn_keras.benchmark.parse import NUMBER, clean


def sections(text: str) -> dict[str, str]:
    """Read ``== key`` lines, each followed by the value's lines; text before the first is noise."""
    sections: dict[str, str] = {}
    for part in re.split(r"^== ", clean(text), flags=re.MULTILINE)[1:]:
        key, _, value = part.partition("\n")
        sections[key.strip()] = value.strip()
    return sections


def temperature(text: str) -> float | None:
    """Read the processor's temperature in °C.

    ``vcgencmd measure_temp`` prints ``temp=48.3'C``, a Linux thermal zone millidegrees (some whole
    degrees), Android's ``dumpsys thermalservice`` one ``Temperature{mValue=33.4, mType=0, ...}`` a
    sensor, where type 0 is a processor core; the hottest one counts.
    """
    if cores := re.findall(rf"Temperature\{{mValue=({NUMBER}), mType=0\b", text):
        return max(map(float, cores))
    found = re.match(rf"\s*(?:temp=)?({NUMBER})", text)
    if found is None:
        return None
    value = float(found[1])
    return value / 1000 if abs(value) >= 1000 else value


_THROTTLE_BITS = {
    0: "under-voltage",
    1: "frequency capped",
    2: "throttled",
    3: "soft temperature limit",
    16: "under-voltage since boot",
    17: "frequency capped since boot",
    18: "throttled since boot",
    19: "soft temperature limit since boot",
}


def throttled(text: str) -> str:
    """Read ``vcgencmd get_throttled`` (``throttled=0x5``) or Android's ``Thermal Status: 2``."""
    if found := re.search(r"throttled=0x([0-9a-fA-F]+)", text):
        bits = int(found[1], 16)
        return ", ".join(name for bit, name in _THROTTLE_BITS.items() if bits >> bit & 1) or "no"
    if found := re.search(r"Thermal Status: (\d+)", text):
        levels = ("no", "light", "moderate", "severe", "critical", "emergency", "shutdown")
        return levels[min(int(found[1]), len(levels) - 1)]
    return ""


def battery(text: str) -> tuple[int | None, bool | None]:
    """Read charge in percent and whether it charges from ``dumpsys battery``."""
    level = re.search(r"^\s*level: (\d+)", text, re.MULTILINE)
    powered = re.findall(r"^\s*(?:AC|USB|Wireless|Dock) powered: (true|false)", text, re.MULTILINE)
    return (int(level[1]) if level else None, "true" in powered if powered else None)


def number(text: str) -> float | None:
    """Read the number that text begins with, None where there is none."""
    found = re.match(rf"\s*({NUMBER})", text)
    return float(found[1]) if found else None
