"""`python -m paper_figs`."""

from paper_figs.cli import main

if __name__ == "__main__":
    main()
