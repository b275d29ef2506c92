"""The command `teltonika-processor`: one module per subcommand, imported when it is called."""
