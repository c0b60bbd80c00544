"""For peers whose worker wants a process of its own: start it, and hear of each job it does."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
from dataclasses import asdict, replace
from threading import Thread

from benchmarks.queue_sides.common import Asked, Handle

VALUE = struct.Struct("d")


class Elsewhere:
    """A worker process: the side's own module, called with the request and a pipe."""

    def __init__(self, module: str, asked: Asked, concurrency: int, handle: Handle) -> None:
        """Start it."""
        source, sink = os.pipe()
        request = json.dumps(asdict(replace(asked, concurrency=concurrency)))
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, request, str(sink)],
            pass_fds=[sink],
            stdout=subprocess.DEVNULL,
        )
        os.close(sink)
        Thread(target=self._listen, args=(source, handle), daemon=True).start()

    @staticmethod
    def _listen(source: int, handle: Handle) -> None:
        with os.fdopen(source, "rb") as pipe:
            while data := pipe.read(VALUE.size):
                handle(*VALUE.unpack(data))

    def stop(self) -> None:
        """End it."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def asked_here() -> tuple[Asked, Handle] | None:
    """Return the request and what to call for each job, in a process started by `Elsewhere`."""
    if len(sys.argv) < 3:  # noqa: PLR2004 - program, request, pipe
        return None
    sink = int(sys.argv[2])

    def tell(value: float) -> None:
        os.write(sink, VALUE.pack(value))

    return Asked(**json.loads(sys.argv[1])), tell
