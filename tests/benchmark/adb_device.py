"""A device double for the real ``adb`` client and server.

It speaks the ADB transport protocol on a loopback TCP port, as a phone with ``adb tcpip`` does:
CNXN, OPEN, OKAY, WRTE, CLSE messages, the services ``shell:`` (old, no exit status), ``shell,v2:``
(separate streams and exit status) and ``sync:`` (STAT, STA2, LST2, SEND, RECV). Commands are run by
this computer's /bin/sh; paths below /data/local/tmp are moved into a folder of the test. Source of
the formats: ``protocol.txt``, ``SYNC.TXT`` and ``shell_protocol.h`` of Android's adb.
"""

import contextlib
import os
import signal
import socket
import struct
import subprocess
import threading
from pathlib import Path

TMP = "/data/local/tmp"
_VERSION, _MAX_PAYLOAD = 0x01000001, 256 * 1024
_STDIN, _STDOUT, _STDERR, _EXIT, _CLOSE_STDIN = range(5)


class AdbDevice:
    """One double; use as a context manager.

    Attributes:
        root: folder that stands for /data/local/tmp; ``root/../bin`` comes first in its PATH.
        quota: bytes that sync may still write, None for no limit.
        hang_up_at: a shell command that contains this breaks the connection right after its start.
    """

    def __init__(self, folder: Path, path: str, shell_v2: bool = True) -> None:
        self.root = folder / "tmp"
        self.bin = folder / "bin"
        self.root.mkdir(parents=True)
        self.bin.mkdir()
        self.environment = {
            "PATH": f"{self.bin}:{path}",
            "HOME": str(folder),
            "LANG": "C",
            "TMPDIR": str(self.root),
        }
        self.features = "shell_v2,stat_v2" if shell_v2 else "cmd"
        self.quota: int | None = None
        self.hang_up_at = ""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.serial = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.connections: list[Connection] = []

    def __enter__(self) -> "AdbDevice":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.unplug()

    def unplug(self) -> None:
        """Pull the cable: no new connections, the old ones break."""
        # close() alone leaves a thread that waits in accept() one more connection.
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in list(self.connections):
            connection.break_off()

    def install(self, name: str, script: str) -> Path:
        """Put a program into the PATH of the device."""
        program = self.bin / name
        program.write_text(script)
        program.chmod(0o755)
        return program

    def _accept(self) -> None:
        while True:
            try:
                connected, _ = self.listener.accept()
            except OSError:
                return
            connection = Connection(self, connected)
            self.connections.append(connection)
            threading.Thread(target=connection.serve, daemon=True).start()

    def local(self, text: str) -> str:
        return text.replace(TMP, str(self.root))


class Connection:
    """One TCP connection of the adb server, with its streams."""

    def __init__(self, device: AdbDevice, connected: socket.socket) -> None:
        self.device = device
        self.socket = connected
        self.reader = connected.makefile("rb")
        self.lock = threading.Lock()
        self.streams: dict[int, Stream] = {}
        self.next_id = 1

    def send(self, command: bytes, first: int, second: int, data: bytes = b"") -> None:
        magic = struct.unpack("<I", command)[0] ^ 0xFFFFFFFF
        header = struct.pack("<4s5I", command, first, second, len(data), sum(data) % 2**32, magic)
        with self.lock:
            try:
                self.socket.sendall(header + data)
            except OSError:
                return  # broken off: nobody is left to tell

    def serve(self) -> None:
        try:
            while len(header := self.reader.read(24)) == 24:
                command, first, second, length = struct.unpack("<4s3I", header[:16])
                self._handle(command, first, second, self.reader.read(length))
        except (OSError, ValueError):
            pass  # broken off
        finally:
            self.break_off()

    def _handle(self, command: bytes, first: int, second: int, data: bytes) -> None:
        if command == b"CNXN":
            banner = f"device::ro.product.name=double;features={self.device.features}"
            self.send(b"CNXN", _VERSION, _MAX_PAYLOAD, banner.encode())
        elif command == b"OPEN":
            self._open(first, data.rstrip(b"\0").decode())
        elif second in self.streams:
            stream = self.streams[second]
            if command == b"OKAY":
                stream.ready.release()
            elif command == b"WRTE":
                self.send(b"OKAY", second, first)
                stream.received(data)
            elif command == b"CLSE":
                stream.hang_up()

    def _open(self, remote: int, service: str) -> None:
        kinds = {"shell": Shell, "sync": Sync}
        name = service.split(":")[0].split(",")[0]
        if name not in kinds:
            self.send(b"CLSE", 0, remote)
            return
        local, self.next_id = self.next_id, self.next_id + 1
        stream = kinds[name](self, local, remote, service)
        self.streams[local] = stream
        self.send(b"OKAY", local, remote)
        threading.Thread(target=stream.run, daemon=True).start()

    def break_off(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.reader.close()
        for stream in list(self.streams.values()):
            stream.hang_up()


class Stream:
    """One opened service; ``ready`` counts the OKAYs that allow the next WRTE."""

    def __init__(self, connection: Connection, local: int, remote: int, service: str) -> None:
        self.connection, self.local, self.remote = connection, local, remote
        self.service = service
        self.ready = threading.Semaphore(1)
        self.writing = threading.Lock()
        self.gone = False

    def write(self, data: bytes) -> None:
        with self.writing:
            for start in range(0, len(data), 16 * 1024):
                self.ready.acquire()
                if self.gone:
                    return
                piece = data[start : start + 16 * 1024]
                self.connection.send(b"WRTE", self.local, self.remote, piece)

    def close(self) -> None:
        if not self.gone:
            # The last WRTE must have been taken, or the client drops it.
            self.ready.acquire()
            self.connection.send(b"CLSE", self.local, self.remote)
            self.gone = True
        self.connection.streams.pop(self.local, None)

    def hang_up(self) -> None:
        self.gone = True
        self.ready.release()

    def received(self, data: bytes) -> None:
        raise NotImplementedError

    def run(self) -> None:
        raise NotImplementedError


class Shell(Stream):
    """``shell:COMMAND`` or ``shell,v2,...:COMMAND``."""

    def __init__(self, connection: Connection, local: int, remote: int, service: str) -> None:
        super().__init__(connection, local, remote, service)
        options, _, command = service.partition(":")
        self.v2 = "v2" in options.split(",")
        self.command = connection.device.local(command)
        self.pending = b""
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", self.command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if self.v2 else subprocess.STDOUT,
            env=connection.device.environment,
            cwd="/",
            start_new_session=True,
        )

    def run(self) -> None:
        trigger = self.connection.device.hang_up_at
        if trigger and trigger in self.command:
            threading.Timer(0.5, self.connection.break_off).start()
        readers = [threading.Thread(target=self._copy, args=(self.process.stdout, _STDOUT))]
        if self.v2:
            readers.append(threading.Thread(target=self._copy, args=(self.process.stderr, _STDERR)))
        for thread in readers:
            thread.start()
        for thread in readers:
            thread.join()
        status = self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        if self.v2:
            self.write(struct.pack("<BIB", _EXIT, 1, status & 0xFF))
        self.close()

    def _copy(self, pipe: object, kind: int) -> None:
        while data := os.read(pipe.fileno(), 4096):
            if self.v2:
                self.write(struct.pack("<BI", kind, len(data)) + data)
            else:  # the old shell had a terminal, which adds carriage returns
                self.write(data.replace(b"\n", b"\r\n"))

    def received(self, data: bytes) -> None:
        if not self.v2:
            self._feed(data)
            return
        self.pending += data
        while len(self.pending) >= 5:
            kind, length = struct.unpack("<BI", self.pending[:5])
            if len(self.pending) < 5 + length:
                return
            body, self.pending = self.pending[5 : 5 + length], self.pending[5 + length :]
            if kind == _STDIN:
                self._feed(body)
            elif kind == _CLOSE_STDIN:
                self._end_of_input()

    def _feed(self, data: bytes) -> None:
        try:
            self.process.stdin.write(data)
            self.process.stdin.flush()
        except (OSError, ValueError):
            pass  # the command does not read any more

    def _end_of_input(self) -> None:
        with contextlib.suppress(OSError):
            self.process.stdin.close()

    def hang_up(self) -> None:
        """As adbd when the transport goes: the command loses its input and gets SIGHUP."""
        super().hang_up()
        self._end_of_input()
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGHUP)


class Sync(Stream):
    """``sync:``: requests of four letters, a length and a path."""

    def __init__(self, connection: Connection, local: int, remote: int, service: str) -> None:
        super().__init__(connection, local, remote, service)
        here, there = socket.socketpair()
        self.feed = there
        self.input = here.makefile("rb")
        here.close()

    def received(self, data: bytes) -> None:
        self.feed.sendall(data)

    def hang_up(self) -> None:
        super().hang_up()
        self.feed.close()

    def run(self) -> None:
        while len(head := self.input.read(8)) == 8:
            request, length = struct.unpack("<4sI", head)
            if request == b"QUIT":
                break
            path = self.connection.device.local(self.input.read(length).decode())
            if request == b"STAT":
                self.write(struct.pack("<4sIII", b"STAT", *self._stat(path)))
            elif request in (b"STA2", b"LST2"):
                self.write(self._stat2(request, path))
            elif request == b"SEND":
                self._take(path)
            elif request == b"RECV":
                self._give(path)
        self.input.close()
        self.close()
        self.feed.close()

    @staticmethod
    def _stat(path: str) -> tuple[int, int, int]:
        try:
            found = os.stat(path)
        except OSError:
            return 0, 0, 0
        return found.st_mode, found.st_size, int(found.st_mtime)

    @staticmethod
    def _stat2(request: bytes, path: str) -> bytes:
        try:
            s = os.stat(path)
        except OSError as error:
            return struct.pack("<4sI2Q4IQ3q", request, error.errno, *[0] * 10)
        times = (int(s.st_atime), int(s.st_mtime), int(s.st_ctime))
        numbers = (0, s.st_dev, s.st_ino, s.st_mode, s.st_nlink, s.st_uid, s.st_gid, s.st_size)
        return struct.pack("<4sI2Q4IQ3q", request, *numbers, *times)

    def _take(self, path_and_mode: str) -> None:
        path, _, mode = path_and_mode.rpartition(",")
        device = self.connection.device
        problem = ""
        with open(path, "wb") as stream:
            while True:
                kind, length = struct.unpack("<4sI", self.input.read(8))
                if kind != b"DATA":
                    break
                data = self.input.read(length)
                if device.quota is not None:
                    device.quota -= length
                    problem = "No space left on device" if device.quota < 0 else ""
                if not problem:
                    stream.write(data)
        if problem:
            os.unlink(path)
            self.write(struct.pack("<4sI", b"FAIL", len(problem)) + problem.encode())
            return
        os.chmod(path, int(mode) & 0o777)
        self.write(struct.pack("<4sI", b"OKAY", 0))

    def _give(self, path: str) -> None:
        data = Path(path).read_bytes()
        for start in range(0, len(data), 64 * 1024):
            piece = data[start : start + 64 * 1024]
            self.write(struct.pack("<4sI", b"DATA", len(piece)) + piece)
        self.write(struct.pack("<4sI", b"DONE", 0))
