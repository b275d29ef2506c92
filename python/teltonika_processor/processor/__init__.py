"""The pipeline: what decides (ledger, batch, breaker) is pure; ``pipeline`` drives it."""
