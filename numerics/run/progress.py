"""A job's progress on the terminal."""

import sys


class Progress:
    """A bar, started when the number of steps is known."""

    def __init__(self, job: str) -> None:
        self.job, self.bar = job, None

    def begin(self, total: int) -> None:
        """Show the bar."""
        from tqdm import tqdm

        self.bar = tqdm(total=total, desc=self.job, unit=" steps", unit_scale=True, file=sys.stderr, leave=False)

    def tick(self, steps: int) -> None:
        """Move it."""
        if self.bar is not None:
            self.bar.update(steps)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()
