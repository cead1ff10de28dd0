"""Moving keys from M to N buckets while clients are at work: the mover of each bucket, and bucket 0's coordinator."""
