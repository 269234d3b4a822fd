"""Runs a command and watches what it takes: wall and CPU time, and the peak of its memory.

Anonymous memory is RssAnon of /proc/PID/status, read every 20 ms: what the process itself allocated, without the pages
of mapped files, which the kernel may drop.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

INTERVAL_SECONDS = 0.02


@dataclass
class Outcome:
    seconds: float
    cpu_seconds: float  # user and system
    anonymous: int  # bytes, peak
    resident: int  # bytes, peak, with mapped files
    signal: int
    messages: str


def memory_of(pid: int) -> tuple[int, int]:
    """Anonymous bytes now, and the peak of all resident ones; zeros when the process has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0, 0
    fields = dict(re.findall(r"(RssAnon|VmHWM):\s+(\d+) kB", status))
    return int(fields.get("RssAnon", 0)) * 1024, int(fields.get("VmHWM", 0)) * 1024


def watch(command: list[str], messages: Path, kill_when: Callable[[], bool] = lambda: False) -> Outcome:
    """Runs a command to its end, or kills it once `kill_when` says so; what it says on stderr goes to `messages`. Ends
    this script when the command fails."""
    begin, anonymous, resident, killed = time.monotonic(), 0, 0, False
    with messages.open("w") as log:
        process = subprocess.Popen(command, stderr=log)
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            now, most = memory_of(process.pid)
            anonymous, resident = max(anonymous, now), max(resident, most)
            if kill_when():
                process.send_signal(signal.SIGKILL)
                killed = True
            time.sleep(INTERVAL_SECONDS)
        process.returncode = os.waitstatus_to_exitcode(status)
    outcome = Outcome(time.monotonic() - begin, usage.ru_utime + usage.ru_stime, anonymous, resident,
                      max(-process.returncode, 0), messages.read_text())
    if process.returncode not in (0, -signal.SIGKILL if killed else 0):
        raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}\n{outcome.messages}")
    return outcome
