"""``python -m teltonika_processor``: the command, for where its script is not on the path."""

from teltonika_processor.cli.app import main

if __name__ == "__main__":
    main()
