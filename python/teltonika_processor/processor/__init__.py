"""The pipeline: what decides (ledger, batch, backoff) is pure; ``pipeline`` drives it."""
