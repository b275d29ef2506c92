"""Looking at everything that the service depends on; facts in, findings out, nothing written."""
