"""The API `/v1`: raw values with their metadata, conditions, expiry, and operations on many keys."""
