"""`python -m kuberay`, and `cloud-storage-kuberay` where the package is installed."""

import sys


def run(prog_name: str | None = None) -> None:
    """The commands, or a sentence where what they need is not installed: the store itself does without."""
    try:
        from kuberay.main import app
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        if package in ("kuberay", "serve_app"):
            raise
        sys.exit(f"error: {package} is not installed: pip install 'cloud-storage[kuberay]'")
    app(prog_name=prog_name)


if __name__ == "__main__":
    run("python -m kuberay")
