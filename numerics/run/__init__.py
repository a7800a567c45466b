"""The command line: `python -m numerics.run JOB`."""
