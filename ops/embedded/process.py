"""Running a server's binary: free ports, the user it runs as, its end together with its parent's."""

import ctypes
import functools
import os
import pwd
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import psutil

from ops.embedded.errors import EmbeddedError

LOOPBACK = "127.0.0.1"
_PR_SET_PDEATHSIG = 1
# Loaded here because nothing may be imported or allocated freely between fork and exec.
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def port_is_free(port: int, host: str = LOOPBACK) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def die_with_parent(with_signal: signal.Signals) -> Callable[[], None]:
    """For `preexec_fn`: the kernel sends the signal when the parent is gone, even by SIGKILL (Linux only).

    To the kernel the parent is the thread that forks. A pool's thread may end long before its process does, and would
    take what it started along; so any but the main thread is refused, with RuntimeError.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("a process that dies with its parent is started by the main thread")

    parent = os.getpid()

    def ask_kernel() -> None:
        if _LIBC is not None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, int(with_signal))
            if os.getppid() != parent:  # It has died before it was asked for.
                os._exit(1)

    return ask_kernel


@functools.cache
def server_user() -> str | None:
    """The system user servers run as when we are root, which PostgreSQL refuses; None if we are not root."""
    if os.geteuid() != 0:
        return None
    for name in ("pmarket", "embedded_postgres"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    try:
        subprocess.run(
            ["useradd", "--system", "--no-create-home", "pmarket"], check=True, capture_output=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "nobody"
    return "pmarket"


def give(path: str | Path, user: str | None) -> None:
    """Make the server's user the owner of a file or directory."""
    if user is not None:
        entry = pwd.getpwnam(user)
        os.chown(path, entry.pw_uid, entry.pw_gid)


def make_traversable(path: Path, user: str | None) -> None:
    """Let the server's user pass through the folders above its own: execute permission only, no listing."""
    path.mkdir(parents=True, exist_ok=True)
    if user is None:
        return
    for folder in (path, *path.parents):
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)


def own(path: Path, user: str | None) -> None:
    """Make a directory that the server's user owns and nobody else reads, but can be reached."""
    make_traversable(path.parent, user)
    path.mkdir(exist_ok=True)
    path.chmod(0o700)
    give(path, user)


def make_readable(folder: Path, user: str | None) -> None:
    """Let the server's user read and run what an installation under a strict umask has locked away."""
    if user is None:
        return
    make_traversable(folder.parent, user)
    for path in (folder, *folder.rglob("*")):
        mode = path.stat().st_mode
        wanted = mode | stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0)
        if wanted != mode:
            path.chmod(wanted)


def spawn(
    command: Sequence[str], *, user: str | None, log: IO[bytes], cwd: Path,
    secrets: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:  # fmt: skip
    """Start a server in a session of its own, so that a terminal's Ctrl-C reaches only us.

    `secrets` are variables for it: a command line is for everybody to read.
    """
    identity: dict[str, Any] = {}
    if user is not None:
        entry = pwd.getpwnam(user)
        identity = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    return subprocess.Popen(
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        cwd=cwd,
        env={**os.environ, **(secrets or {})},
        start_new_session=True,
        preexec_fn=die_with_parent(signal.SIGINT),
        **identity,
    )


def wait_until(
    ready: Callable[[], bool], *, process: subprocess.Popen[bytes], timeout_s: float, name: str
) -> None:
    """Poll until the server answers; raises EmbeddedError if it ends first or takes too long."""
    deadline = time.monotonic() + timeout_s
    while not ready():
        if process.poll() is not None:
            raise EmbeddedError(f"{name} ended with code {process.returncode} while starting")
        if time.monotonic() > deadline:
            raise EmbeddedError(f"{name} did not answer within {timeout_s:.0f} s")
        time.sleep(0.03)


def stop_process(process: subprocess.Popen[bytes], first: signal.Signals, *, grace_s: float) -> None:
    """Ask, wait, then kill."""
    if process.poll() is None:
        process.send_signal(first)
        try:
            process.wait(grace_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def end_leftover(pid: int, *, belongs: Callable[[psutil.Process], bool], first: signal.Signals) -> None:
    """End a server that outlived a killed run, if the pid still is that server and not a later process."""
    try:
        process = psutil.Process(pid)
        if not belongs(process):
            return
        process.send_signal(first)
        try:
            process.wait(10)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(10)
    except psutil.NoSuchProcess:
        return
