"""What the commands say on a terminal: shared by the store's own (`serve_app.cli`) and those for Kubernetes (`kuberay`)."""
