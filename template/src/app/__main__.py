"""`python -m app`: the same as the `app` command."""

from app.cli import main

main()
