"""``python -m latentscale``: the command line, where the program ``latentscale`` is not on the path."""

from .cli import main

if __name__ == "__main__":
    main()
