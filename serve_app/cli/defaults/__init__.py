"""The configuration of a store on one machine, as it is installed: `run` takes it where the folder that it is typed in has
none.

In the repository the files are links to those at its top.
"""

from __future__ import annotations

from pathlib import Path


def found(path: Path) -> Path:
    """The file; or the installed one of its name where only a name is given and the working folder has none."""
    installed = Path(__file__).parent / path.name
    return installed if path == Path(path.name) and not path.exists() and installed.exists() else path
