"""Serve's HAProxy, started through a program of ours that amends its configuration."""

from __future__ import annotations

from pathlib import Path

#: The program, for RAY_SERVE_HAPROXY_BINARY_PATH.
HAPROXY = Path(__file__).parent / "haproxy"
