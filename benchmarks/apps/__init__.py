"""What the store is compared with, and the loader: small applications that run beside it."""
