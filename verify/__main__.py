"""`python -m verify`: run the checks and print a scorecard. Exit code 0: all pass; 1: a check failed; 2: bad input."""

import sys

from verify.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
