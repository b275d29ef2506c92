"""A process's life: settings, signals, exit codes, logs; builds, passes and closes everything."""
