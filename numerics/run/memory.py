"""Peak memory of a job from its settings, before anything is allocated."""

from numerics.run.settings import Settings

REMEDY = "lower --replicas, --records, --n or --features"


def peak(settings: Settings) -> int:
    """Bytes of the whole process at its peak."""
    return 400 * 2**20
