"""Tests of what `make run` looks at and starts on a machine before Ray is there: files, ports, a shell, HAProxy."""
