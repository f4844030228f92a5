"""From files and a target to results."""

import struct
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from hashbwn_keras.benchmark.library import for_device
from hashbwn_keras.benchmark.machines.choice import choose_tool, connect
from hashbwn_keras.benchmark.machines.host import Host, Machine, between
from hashbwn_keras.benchmark.results import Delegate, Device, Result, Runtime, sha256
from hashbwn_keras.benchmark.tools.own import Job, Measured, Tool
from hashbwn_keras.benchmark.tools.stock import Binary
from hashbwn_keras.errors import HashBWNError

RUNTIMES = ("auto", "litert", "tflite", "lce")


@dataclass(frozen=True)
class _Entry:
    """One row of the result: a local file, a local library or None, a runtime."""

    file: Path
    library: Path | None
    runtime: str
    notes: tuple[str, ...] = ()


def benchmark(
    files: Sequence[str | Path],
    on: str = "host",
    *,
    threads: int = 1,
    runs: int = 50,
    warmup: int = 5,
    rounds: int = 5,
    delegate: Sequence[str] = ("auto",),
    runtime: str = "auto",
    tool: str = "",
    python: str = "",
    cpus: str = "",
    step: Callable[[], None] = lambda: None,
) -> list[Result]:
    """Measure files, in alternating rounds, on one device.

    Args:
        files: .tflite files.
        on: host, android, android:SERIAL or ssh://user@host[:port].
        threads: threads of the runtime.
        runs: timed inferences of each file, over all rounds.
        warmup: inferences before those.
        rounds: how often the files take turns.
        delegate: for each of these, all files are measured: auto (the library of this project if it
            can be had for the device), off, or the path of a library.
        runtime: litert, tflite, lce, or auto: lce for files with its operators, else what is there.
        tool: program that measures, see :func:`~hashbwn_keras.benchmark.machines.choose_tool`.
        python: Python of the device, likewise.
        cpus: processors to run on, such as ``4-7`` or ``0,2``; empty: all.
        step: called after each round.

    Returns:
        One result per file and delegate setting, in that order.

    Raises:
        HashBWNError: bad arguments, or the device, a program or a file failed.
    """
    for name, value in (("--threads", threads), ("--runs", runs), ("--rounds", rounds)):
        if value < 1:
            raise HashBWNError(f"{name} {value} is too small: give 1 or more.")
    if warmup < 0:
        raise HashBWNError(f"--warmup {warmup} is negative: give 0 or more.")
    if runtime not in RUNTIMES:
        raise HashBWNError(f"--runtime {runtime} is unknown: choose {', '.join(RUNTIMES)}.")
    paths = [_checked(Path(file)) for file in files]
    if not paths:
        raise HashBWNError("There is no file to measure: give one or more .tflite files.")
    settings = Job((), threads, runs, warmup, min(rounds, runs), _mask(cpus))
    machine = connect(on)
    with tempfile.TemporaryDirectory() as local, machine.workspace() as folder:
        device = machine.describe()
        groups = _groups(
            machine, folder, Path(local), device, paths, delegate, runtime, tool, python
        )
        results = []
        for program, entries in groups:
            results += _measure(machine, folder, device, program, entries, settings, step)
    order = {path: index for index, path in enumerate(paths)}
    return [result for _, result in sorted(results, key=lambda pair: order[pair[0]])]


def _checked(path: Path) -> Path:
    try:
        with path.open("rb") as stream:
            head = stream.read(8)
    except OSError as error:
        raise HashBWNError(f"{path} cannot be read: {error.strerror}.") from error
    if head[4:] != b"TFL3":
        raise HashBWNError(f"{path} is no TFLite file: export the model with hashbwn export first.")
    return path


def _mask(cpus: str) -> str:
    """Return the hexadecimal mask of a list of processors, as every taskset takes it."""
    mask = 0
    try:
        for part in filter(None, cpus.split(",")):
            first, _, last = part.partition("-")
            for cpu in range(int(first), int(last or first) + 1):
                mask |= 1 << cpu
    except ValueError as error:
        raise HashBWNError(
            f"--cpus {cpus} is no list of processors: write it like 4-7 or 0,2."
        ) from error
    return f"{mask:x}" if mask else ""


def _groups(
    machine: Machine,
    folder: str,
    local: Path,
    device: Device,
    paths: list[Path],
    delegates: Sequence[str],
    runtime: str,
    tool: str,
    python: str,
) -> list[tuple[Tool, list[_Entry]]]:
    """Put together what one program measures; only Larq's files may need another one."""
    kinds = {path: _runtime(path, runtime) for path in paths}
    groups: list[tuple[Tool, list[_Entry]]] = []
    for lce in (False, True):
        chosen = [path for path in paths if (kinds[path] == "lce") == lce]
        if not chosen:
            continue
        program = choose_tool(machine, folder, kinds[chosen[0]], tool, python)
        entries: list[_Entry] = []
        for setting in delegates:
            library, notes = _library(setting, local, device, program, lce)
            entries += [_Entry(path, library, kinds[path], notes) for path in chosen]
        # Settings that come to the same, such as any for Larq's files, are measured once.
        unique: dict[tuple[Path, Path | None], _Entry] = {}
        for entry in entries:
            unique.setdefault((entry.file, entry.library), entry)
        measured = list(unique.values())
        if groups and groups[0][0] == program:
            groups[0][1].extend(measured)  # so that all take turns
        else:
            groups.append((program, measured))
    return groups


def _runtime(path: Path, runtime: str) -> str:
    if runtime != "auto":
        return runtime
    data = path.read_bytes()
    # Names of custom operators stand in the file as they are.
    larq = any(name in data for name in (b"LceBconv2d", b"LceDequantize", b"LceQuantize"))
    return "lce" if larq else "auto"


def _library(
    setting: str, local: Path, device: Device, tool: Tool, lce: bool
) -> tuple[Path | None, tuple[str, ...]]:
    if setting == "off":
        return None, ()
    if lce:  # its Python interpreter has no delegates, and its files have nothing for ours
        return None, ()
    if setting != "auto":
        if not tool.delegates:
            raise HashBWNError(
                f"--delegate {setting}: {tool.name} loads no delegates; use --delegate off or "
                "another --tool."
            )
        return _matching(Path(setting), device), ()
    if not tool.delegates:
        return None, (f"without delegate: {tool.name} cannot load one",)
    try:
        return for_device(device, local), ()
    except HashBWNError as error:
        return None, (f"without delegate: {error}",)


_ELF_MACHINES = {62: "x86_64", 183: "aarch64", 40: "arm", 3: "x86", 243: "riscv"}


def _matching(library: Path, device: Device) -> Path:
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


def _measure(
    machine: Machine,
    folder: str,
    device: Device,
    tool: Tool,
    entries: list[_Entry],
    settings: Job,
    step: Callable[[], None],
) -> list[tuple[Path, Result]]:
    there: dict[Path, str] = {}
    for number, entry in enumerate(entries):
        for path in filter(None, (entry.file, entry.library)):
            if path not in there:
                there[path] = _push(machine, path, f"{folder}/{number}")
    job = replace(
        settings,
        files=tuple(
            (there[e.file], there[e.library] if e.library else "", e.runtime) for e in entries
        ),
    )
    time = datetime.now(timezone.utc).isoformat(timespec="seconds")
    before = machine.state()
    measured = tool.measure(machine, folder, job, step)
    state = between(before, machine.state())
    shared = {"num_threads": job.threads, "state": state, "time": time}
    return [
        (entry.file, _result(entry, found, device, tool, shared))
        for entry, found in zip(entries, measured, strict=True)
    ]


def _push(machine: Machine, path: Path, folder: str) -> str:
    """Copy into a folder of its own, so that equal names do not meet."""
    if not isinstance(machine, Host):
        machine.check(f"mkdir -p {folder} && chmod 755 {folder}")
    return machine.push(path, folder)


def _result(
    entry: _Entry, found: Measured, device: Device, tool: Tool, shared: dict[str, object]
) -> Result:
    notes = entry.notes
    if isinstance(tool, Binary) and found.latency.median_ms is None:
        notes = (*notes, f"{tool.name} prints no median: the mean stands in its place")
    if entry.library and found.nodes == 0:
        notes = (*notes, "the delegate took no node of this file")
    return Result(
        model=entry.file.name,
        latency=found.latency,
        model_bytes=entry.file.stat().st_size,
        model_sha256=sha256(entry.file),
        throughput_mb_s=found.throughput_mb_s,
        device=replace(
            device,
            affinity=found.affinity or device.affinity,
            emulated=device.emulated or found.emulated,
        ),
        runtime=Runtime(found.runtime, found.version, tool.name),
        delegate=Delegate(entry.library.name, sha256(entry.library), found.nodes)
        if entry.library
        else Delegate(),
        memory=found.memory,
        instructions=found.instructions,
        notes=notes,
        **shared,  # type: ignore[arg-type]
    )
