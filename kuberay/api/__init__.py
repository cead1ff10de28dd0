"""Talking to Kubernetes: all that knows the official client is in here."""
