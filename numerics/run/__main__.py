"""`python -m numerics.run`."""

from numerics.run.cli import main

main()
