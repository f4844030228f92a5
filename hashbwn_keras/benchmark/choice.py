"""Which machine ``--on`` means, and which program measures there."""

import sys
from pathlib import Path

from hashbwn_keras.benchmark.machines.android import Android
from hashbwn_keras.benchmark.machines.emulated import Emulated
from hashbwn_keras.benchmark.machines.host import Host
from hashbwn_keras.benchmark.machines.machine import Machine, quote
from hashbwn_keras.benchmark.machines.ssh import Ssh
from hashbwn_keras.benchmark.plan import Plan, RuntimeName
from hashbwn_keras.benchmark.tools.emulated import EmulatedRunner
from hashbwn_keras.benchmark.tools.job import Tool
from hashbwn_keras.benchmark.tools.own import PythonRunner
from hashbwn_keras.benchmark.tools.stock import APP, AndroidApp, Binary, LitertBenchmark
from hashbwn_keras.errors import HashBWNError


def connect(on: str) -> Machine:
    """Return the machine for ``host``, ``android[:SERIAL]`` or ``ssh://[user@]host[:port]``.

    ``qemu:FOLDER[:CPU]`` is an emulated machine, for instruction counts.

    Raises:
        HashBWNError: it is none of these, or the device is not there.
    """
    if on == "host":
        return Host()
    kind, _, serial = on.partition(":")
    if kind == "android":
        return Android(serial)
    if kind == "qemu":
        return Emulated(serial)
    if on.startswith("ssh://"):
        return Ssh(on)
    raise HashBWNError(
        f"--on {on} is no target: give host, android, android:SERIAL or ssh://user@host."
    )


def choose_tool(machine: Machine, folder: str, runtime: RuntimeName, plan: Plan) -> Tool:
    """Return the program that measures files of one runtime on a machine.

    ``plan.tool`` may be runner, app, litert-benchmark, the path of a binary (a local file is copied
    there, anything else is a path on the device), or empty for what is there; ``plan.python`` is
    the device's Python, or empty for ``~/hashbwn/bin/python`` or ``python3``.

    Args:
        machine: where.
        folder: the open workspace there.
        runtime: what runs the files.
        plan: what was asked for.

    Raises:
        HashBWNError: the machine has no such program, or it does not take samples and shapes.
    """
    given = plan.data is not None or plan.shapes is not None
    tool = _chosen(machine, folder, runtime, plan, given)
    if given and not tool.takes_inputs:
        raise HashBWNError(
            f"--data and --shape: {tool.name} makes its own inputs; use --tool runner."
        )
    return tool


def _chosen(machine: Machine, folder: str, runtime: RuntimeName, plan: Plan, given: bool) -> Tool:
    tool, python = plan.tool, plan.python
    if isinstance(machine, Emulated):
        if tool not in ("", "runner"):
            raise HashBWNError(f"--tool {tool} does not run under qemu: leave it out.")
        return EmulatedRunner(sys.executable, machine)
    if tool == "app":
        _require_app(machine)
        return AndroidApp()
    if tool == "litert-benchmark":
        return LitertBenchmark(_python(machine, python))
    if tool and tool != "runner":
        return Binary(_install(machine, folder, tool), _linked(runtime))
    if not tool and not python and not given and not machine.is_here:
        if found := _find(machine, _program(runtime)):
            return Binary(found, _linked(runtime))
        if machine.has_apps and runtime != "lce" and _has_app(machine):
            return AndroidApp()
    return PythonRunner(
        _python(machine, python, "" if tool or python else _missing(machine, runtime))
    )


def _program(runtime: RuntimeName) -> str:
    return "lce_benchmark_model" if runtime == "lce" else "benchmark_model"


def _linked(runtime: RuntimeName) -> str:
    """The runtime inside such a program."""
    return "lce" if runtime == "lce" else "tflite"


def _missing(machine: Machine, runtime: RuntimeName) -> str:
    program = _program(runtime)
    if machine.has_apps:
        app = "" if runtime == "lce" else ", install the benchmark app,"
        return (
            f"{machine.title} has no program to measure with: put {program} into "
            f"{machine.folders[0]}{app} or name a local build with --tool PATH (see "
            "docs/devices.md)."
        )
    return (
        f"{machine.title} has neither Python 3 nor {program}: install Python and the wheel "
        "ai-edge-litert there, or name a local build with --tool PATH (see docs/devices.md)."
    )


def _python(machine: Machine, python: str, missing: str = "") -> str:
    if machine.is_here:
        return python or sys.executable
    names = [quote(python)] if python else ['"$HOME/hashbwn/bin/python"', "python3"]
    if found := machine.find(*names):
        return found
    name = python or "python3"
    raise HashBWNError(
        missing or f"{machine.title} has no {name}: install it there or name it with --python."
    )


def _find(machine: Machine, program: str) -> str:
    return machine.find(*(f"{folder}/{program}" for folder in machine.folders), program)


def _install(machine: Machine, folder: str, tool: str) -> str:
    if Path(tool).is_file():
        program = machine.push(Path(tool), folder)
        if not machine.is_here:
            machine.check(f"chmod 755 {quote(program)}")
        return program
    status, _ = machine.shell(f"[ -x {quote(tool)} ]")
    if status:
        raise HashBWNError(
            f"--tool {tool} is neither a file here nor a program on the device: give the path of "
            "benchmark_model or lce_benchmark_model (see docs/devices.md)."
        )
    return tool


def _has_app(machine: Machine) -> bool:
    status, output = machine.shell(f"pm path {APP}")
    return status == 0 and "package:" in output


def _require_app(machine: Machine) -> None:
    if not machine.has_apps:
        raise HashBWNError(f"--tool app runs on Android only, not on {machine.on}.")
    if not _has_app(machine):
        raise HashBWNError(
            f"{machine.title} has no benchmark app ({APP}): install it with adb install -r -d -g "
            "android_aarch64_benchmark_model.apk (see docs/devices.md)."
        )
