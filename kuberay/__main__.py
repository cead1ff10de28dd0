"""`python -m kuberay`."""

from kuberay.main import app

app(prog_name="python -m kuberay")
