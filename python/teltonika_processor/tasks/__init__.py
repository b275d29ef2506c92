"""What every service does with its tasks: run them together, try again, wait, say it rarely."""
