"""Load by wrk: the scripts that make its requests, one bounded run, and its result.

wrk is written in C and takes little of the machine from the server beside it. Its Lua hook `done` gives us the figures as
numbers, the same that `wrk --latency` prints for people.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.failure import BenchmarkFailed
from benchmarks.keys import KEY_DIGITS, KEY_PREFIX

Workload = Literal["GET", "PUT", "mix"]
WORKLOADS: tuple[Workload, ...] = ("GET", "PUT", "mix")
#: Of the requests of "mix", one in this many is a PUT: 90/10.
MIX_PUT_ONE_IN = 10


def title(workload: Workload) -> str:
    """The workload as tables name it."""
    return {"GET": "GET", "PUT": "synced PUT", "mix": "90/10"}[workload]


# How long a run may take over its time: wrk then hangs, and so would we.
_GRACE_S = 30.0
_REQUEST_TIMEOUT_S = 10
_MARK = "benchmark-result "


#: The part of a script that tells us the figures.
REPORT = """
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    'MARK{"requests": %d, "duration_us": %d, "p50_us": %d, "p99_us": %d, "longest_us": %d, ' ..
    '"errors": {"connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d}}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
    e.connect, e.read, e.write, e.status, e.timeout))
end
""".replace("MARK", _MARK)


@dataclass(frozen=True)
class Target:
    """One system under load: its base URL, whether its requests name keys (the empty handler takes none), whether they are
    those of etcd's gateway, or of `/v1`, and the token that they show, if any."""

    url: str
    keyed: bool
    gateway: bool = False
    v1: bool = False
    token: str = ""


@dataclass(frozen=True)
class Load:
    """What one run sends."""

    workload: Workload
    connections: int
    keys: int
    value_bytes: int


@dataclass(frozen=True)
class Result:
    """What one run measured. Latencies are those seen by the client."""

    requests: int
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    longest_ms: float


def require_wrk() -> str:
    """Where wrk is.

    Raises:
        BenchmarkFailed: it is not installed.
    """
    found = shutil.which("wrk")
    if found is None:
        raise BenchmarkFailed("wrk, which makes the load, is not installed; on Debian: apt-get install wrk")
    return found


def run(target: Target, load: Load, *, seconds: int, seed: int, folder: Path) -> Result:
    """One run of wrk. folder is for its script.

    Raises:
        BenchmarkFailed: an answer was no success, a connection broke, or wrk itself failed.
    """
    where = f"{load.workload} with {load.connections} connections at {target.url}"
    script = _script(target, load, seed)
    return run_script(target.url, script, load.connections, seconds=seconds, folder=folder, where=where)


def run_script(url: str, text: str, connections: int, *, seconds: int, folder: Path, where: str) -> Result:
    """One run of wrk with a script whose `done` is `REPORT`. where: names it in errors. Raises as `run`."""
    script = folder / "wrk.lua"
    script.write_text(text)
    command = [
        require_wrk(),
        "--threads=1",
        f"--connections={connections}",
        f"--duration={seconds}s",
        f"--timeout={_REQUEST_TIMEOUT_S}s",
        f"--script={script}",
        "--latency",
        url,
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + _GRACE_S, check=False)
    except subprocess.TimeoutExpired:
        raise BenchmarkFailed(f"{where}: wrk did not end in time") from None
    marked = [line for line in done.stdout.splitlines() if line.startswith(_MARK)]
    if done.returncode or not marked:
        raise BenchmarkFailed(f"{where}: wrk failed: {done.stderr.strip() or done.stdout.strip()}")
    found = json.loads(marked[0].removeprefix(_MARK))
    errors = {name: count for name, count in found["errors"].items() if count}
    if errors or "Non-2xx" in done.stdout:
        counts = ", ".join(f"{name} {count:,}" for name, count in errors.items())
        raise BenchmarkFailed(
            f"{where}: not all of {found['requests']:,} requests succeeded ({counts}; 'status' counts non-2xx "
            "answers), so the figures mean nothing"
        )
    if not found["requests"]:
        raise BenchmarkFailed(f"{where}: not one request was answered in {seconds} s")
    return Result(
        requests=found["requests"],
        requests_per_s=found["requests"] / (found["duration_us"] / 1e6),
        p50_ms=found["p50_us"] / 1000,
        p99_ms=found["p99_us"] / 1000,
        longest_ms=found["longest_us"] / 1000,
    )


def _script(target: Target, load: Load, seed: int) -> str:
    """The requests of one run as Lua. Keys are drawn at random; each value is a slice of a random text."""
    base = "/" + target.url.split("/", 3)[3] if target.url.count("/") > 2 else ""
    if target.gateway:
        get = 'post("range", [[{"key": "]] .. encoded(key()) .. [["}]])'
        put = 'post("put", [[{"key": "]] .. encoded(key()) .. [[", "value": "]] .. encoded(value()) .. [["}]])'
    elif target.v1:
        get = f'wrk.format("GET", "{base}/v1/kv/" .. key(), headers)'
        put = f'wrk.format("PUT", "{base}/v1/kv/" .. key(), headers, value())'
    elif target.keyed:
        get = f'wrk.format("GET", "{base}/get/" .. key())'
        put = f'wrk.format("PUT", "{base}/put?key=" .. key() .. "&value=" .. value())'
    else:
        get, put = f'wrk.format("GET", "{base}/empty")', f'wrk.format("PUT", "{base}/empty")'
    headers = f'["Authorization"] = "Bearer {target.token}"' if target.token else ""
    request = {
        "GET": f"return {get}",
        "PUT": f"return {put}",
        "mix": f"if math.random({MIX_PUT_ONE_IN}) == 1 then return {put} else return {get} end",
    }[load.workload]
    return f"""
local letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
local pool
local headers = {{ {headers} }}

function init(args)
  math.randomseed({seed})
  local made = {{}}
  for i = 1, 16384 do
    local at = math.random(#letters)
    made[i] = letters:sub(at, at)
  end
  pool = table.concat(made)
end

function key()
  return string.format("{KEY_PREFIX}%0{KEY_DIGITS}d", math.random(0, {load.keys - 1}))
end

function value()
  local at = math.random(#pool - {load.value_bytes})
  return pool:sub(at, at + {load.value_bytes - 1})
end

local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

function encoded(text)
  local made = {{}}
  for i = 1, #text, 3 do
    local a, b, c = text:byte(i, i + 2)
    local bits = a * 65536 + (b or 0) * 256 + (c or 0)
    for shift = 3, 0, -1 do
      local at = math.floor(bits / 64 ^ shift) % 64 + 1
      local padding = (shift == 1 and not b) or (shift == 0 and not c)
      made[#made + 1] = padding and "=" or alphabet:sub(at, at)
    end
  end
  return table.concat(made)
end

function post(what, body)
  return wrk.format("POST", "/v3/kv/" .. what, {{ ["Content-Type"] = "application/json" }}, body)
end

function request()
  {request}
end
{REPORT}"""
