"""What `python -m kuberay` can do; a module a command."""
