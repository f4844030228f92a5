"""From a plan to results."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path

from hashbwn_keras.benchmark.choice import choose_tool, connect
from hashbwn_keras.benchmark.inputs import write_samples
from hashbwn_keras.benchmark.libraries import for_device, matching
from hashbwn_keras.benchmark.machines.description import between
from hashbwn_keras.benchmark.machines.machine import Machine, quote
from hashbwn_keras.benchmark.plan import Plan, RuntimeName
from hashbwn_keras.benchmark.result_files import sha256
from hashbwn_keras.benchmark.results import Delegate, Device, Result, Runtime
from hashbwn_keras.benchmark.tools.job import Job, JobFile, Measured, Tool
from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.files import temporary_folder
from hashbwn_keras.tflite.names import LCE_OPERATORS


@dataclass(frozen=True)
class _Entry:
    """One row of the result: a local file, a local library or None, a runtime."""

    file: Path
    library: Path | None
    runtime: RuntimeName
    notes: tuple[str, ...] = ()


@dataclass
class _Group:
    """What one program measures."""

    tool: Tool
    entries: list[_Entry]


@dataclass
class _Site:
    """Where it all happens: a machine, a folder there and one here, and what was copied there."""

    machine: Machine
    device: Device
    folder: str
    local: Path
    copies: dict[Path, str] = field(default_factory=dict)

    def push(self, path: Path) -> str:
        """Make a file available, once, in a folder of its own, so that equal names do not meet."""
        if path not in self.copies:
            place = f"{self.folder}/{len(self.copies)}"
            if not self.machine.is_here:
                self.machine.check(f"mkdir -p {quote(place)} && chmod 755 {quote(place)}")
            self.copies[path] = self.machine.push(path, place)
        return self.copies[path]


def benchmark(plan: Plan, step: Callable[[], None] = lambda: None) -> list[Result]:
    """Measure files, in alternating rounds, on one device.

    Args:
        plan: what, where and how.
        step: called after each round.

    Returns:
        One result per file and delegate setting, in the order of the files.

    Raises:
        HashBWNError: the device, a program or a file failed.
    """
    files = [Path(file) for file in plan.files]
    machine = connect(plan.on)
    with ExitStack() as stack:
        local = stack.enter_context(temporary_folder())
        folder = stack.enter_context(machine.workspace())
        site = _Site(machine, machine.describe(), folder, local)
        found = []
        for group in _groups(site, files, plan):
            found += _measure(site, group, plan, step)
    return [result for _, result in sorted(found, key=lambda pair: files.index(pair[0]))]


def _groups(site: _Site, files: list[Path], plan: Plan) -> list[_Group]:
    """Put together what one program measures; only Larq's files may need another one."""
    runtimes = {file: runtime_of(file, plan.runtime) for file in files}
    groups: list[_Group] = []
    for for_larq in (False, True):
        chosen = [file for file in files if (runtimes[file] == "lce") == for_larq]
        if not chosen:
            continue
        tool = choose_tool(site.machine, site.folder, runtimes[chosen[0]], plan)
        # Settings that come to the same, such as any for Larq's files, are measured once.
        unique: dict[tuple[Path, Path | None], _Entry] = {}
        for setting in plan.delegates:
            library, notes = (None, ()) if for_larq else _library(setting, site, tool)
            for file in chosen:
                unique.setdefault((file, library), _Entry(file, library, runtimes[file], notes))
        if groups and groups[0].tool == tool:
            groups[0].entries.extend(unique.values())  # so that all take turns
        else:
            groups.append(_Group(tool, list(unique.values())))
    return groups


def runtime_of(path: Path, asked: RuntimeName) -> RuntimeName:
    """Return the runtime of a file: the one asked for, or lce for a file with its operators."""
    if asked != "auto":
        return asked
    data = path.read_bytes()
    # Names of custom operators stand in the file as they are.
    larq = any(name.encode() in data for name in LCE_OPERATORS)
    return "lce" if larq else "auto"


def _library(setting: str, site: _Site, tool: Tool) -> tuple[Path | None, tuple[str, ...]]:
    """Return the library that a setting of ``--delegate`` means, and what to know about it."""
    if setting == "off":
        return None, ()
    if setting != "auto":
        if not tool.delegates:
            raise HashBWNError(
                f"--delegate {setting}: {tool.name} loads no delegates; use --delegate off or "
                "another --tool."
            )
        return matching(Path(setting), site.device), ()
    if not tool.delegates:
        return None, (f"without delegate: {tool.name} cannot load one",)
    try:
        return for_device(site.device, site.local), ()
    except HashBWNError as error:
        return None, (f"without delegate: {error}",)


def _measure(
    site: _Site, group: _Group, plan: Plan, step: Callable[[], None]
) -> list[tuple[Path, Result]]:
    job = _job(site, group, plan)
    time = datetime.now(timezone.utc).isoformat(timespec="seconds")
    before = site.machine.state()
    measured = group.tool.measure(site.machine, site.folder, job, step)
    state = between(before, site.machine.state())
    return [
        (
            entry.file,
            replace(
                _result(entry, found, site.device, group.tool),
                num_threads=plan.threads,
                state=state,
                time=time,
            ),
        )
        for entry, found in zip(group.entries, measured, strict=True)
    ]


def _job(site: _Site, group: _Group, plan: Plan) -> Job:
    inputs = ""
    if plan.data is not None:
        samples = site.local / "inputs.npz"
        write_samples(plan.data, samples)
        inputs = site.push(samples)
    shapes = tuple((1, *shape) for shape in plan.shapes or ())
    files = tuple(
        JobFile(
            site.push(entry.file),
            site.push(entry.library) if entry.library else "",
            entry.runtime,
            inputs,
            shapes=shapes,
        )
        for entry in group.entries
    )
    rounds = min(plan.rounds, plan.runs)
    return Job(files, plan.threads, plan.runs, plan.warmup, rounds, plan.mask)


def _result(entry: _Entry, found: Measured, device: Device, tool: Tool) -> Result:
    notes = entry.notes
    if found.latency.median_ms is None:
        notes = (*notes, f"{tool.name} prints no median: the mean stands in its place")
    if entry.library and found.nodes == 0:
        notes = (*notes, "the delegate took no node of this file")
    return Result(
        model=entry.file.name,
        num_threads=1,
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
    )
