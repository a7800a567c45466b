"""What a job is asked to do: one frozen, validated record."""

from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from numerics.errors import InputError

Auto = Literal["auto"]
S = TypeVar("S", bound="Settings")

#: `auto` learning rate: this share of the mean-square stability limit (C9), least along the path
AUTO_ETA = 0.6
#: `auto` steps: the law takes rho to this share of rho0 (or of the way to where the drift stops)
AUTO_RHO = 0.15
#: `auto` rho0: this multiple of |w_mn|
AUTO_RHO0 = 1.5


class Settings(BaseModel):
    """Settings of a job, as given. Units: steps, and the units of the data.

    Raises InputError (through `validated`) for a value out of range.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    #: fields that are no options of the job
    hidden: ClassVar[frozenset[str]] = frozenset({"job", "first_replica"})

    job: str
    data: str = "digits"
    n: int | None = Field(None, ge=1)
    features: int | None = Field(None, ge=0)
    target: str | None = None
    parametrization: str = "radial"
    depth: float = Field(3.0, ge=1, le=50)
    eta: float | Auto = "auto"
    eta_fraction: float = Field(AUTO_ETA, gt=0, lt=1)
    batch: int = Field(4, ge=1)
    sigma: float = Field(0.03, ge=0)
    rho0: float | Auto = "auto"
    steps: int | Auto = "auto"
    decay_at: int | Auto = "auto"
    decay_factor: float = Field(10.0, gt=1)
    replicas: int = Field(48, ge=2)
    first_replica: int = Field(0, ge=0)
    records: int = Field(800, ge=10)
    seed: int = Field(0, ge=0, lt=2**64)
    threads: int = Field(2, ge=1)
    device: str = "cpu"
    engine: Literal["auto", "numba", "torch", "triton"] = "auto"
    precision: Literal["float64", "float32"] = "float64"
    out: Path
    small: bool = False
    force: bool = False

    @property
    def random(self) -> bool:
        """Whether replicas differ."""
        return True

    @property
    def few(self) -> int:
        """With --small at most so many replicas."""
        return 40

    @property
    def shape(self) -> str:
        """The parametrization in words, with its depth where it has one."""
        from theory.parametrization import WITHOUT_DEPTH  # sympy, which --help can do without

        return self.parametrization + ("" if self.parametrization in WITHOUT_DEPTH else f" depth {self.depth:g}")

    @property
    def inputs(self) -> list[str]:
        """The files that the job reads."""
        return files_of(self.data)

    @property
    def arguments(self) -> list[str]:
        """The command line that gives the same bits again, every option said; bits do not depend on those left out."""
        given = self.model_dump(exclude={*self.hidden, "out", "threads"}, exclude_none=True)
        return [self.job, *(word for name, value in given.items() for word in _option(name, value))]


def files_of(data: str) -> list[str]:
    """The files that a --data option names: one, or none for data that come with a package."""
    return [data] if Path(data).suffix.lower() in (".npz", ".csv") else []


def _option(name: str, value: object) -> list[str]:
    flag = f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        return [flag] if value else []
    return [flag, str(value)]


_REMEDIES = {
    "greater_than_equal": ("is below {ge}", "give at least {ge}"),
    "greater_than": ("is not above {gt}", "give a number above {gt}"),
    "less_than_equal": ("is above {le}", "give at most {le}"),
    "less_than": ("is not below {lt}", "give a number below {lt}"),
    "literal_error": ("is unknown", "give {expected}"),
    "finite_number": ("is not finite", "give a finite number"),
}


def validated(**values: Any) -> Settings:
    """Settings from named values. Raises InputError on the first value out of range."""
    return validated_as(Settings, **values)


def validated_as(kind: type[S], **values: Any) -> S:
    """Settings of a job that has more of them."""
    try:
        settings = kind(**values)
    except ValidationError as error:
        raise _translated(error) from None
    _check_positive(settings)
    return _made_small(settings) if settings.small else settings


def _translated(error: ValidationError) -> InputError:
    first = error.errors()[0]
    name = str(first["loc"][0])
    rule, remedy = _REMEDIES.get(first["type"], (f"is refused ({first['msg'].lower()})", "see --help"))
    context = {key: f"{value:g}" if isinstance(value, float) else value for key, value in first.get("ctx", {}).items()}
    if rule.startswith("is refused") and len(first["loc"]) > 1:
        rule, remedy = "is neither a number nor 'auto'", "give a number, or auto"
    return InputError(name.replace("_", "-"), first["input"], rule.format(**context), remedy.format(**context))


def _check_positive(settings: Settings) -> None:
    for name in ("eta", "rho0", "steps"):
        value = getattr(settings, name)
        if value != "auto" and not value > 0:
            raise InputError(name, value, "is not positive", "give a number above 0, or auto")
    if settings.decay_at != "auto" and settings.decay_at < 0:
        raise InputError("decay-at", settings.decay_at, "is negative", "give a step from 0 on, or auto")


def _made_small(settings: S) -> S:
    """The same job in a few seconds: fewer replicas; named data give fewer rows."""
    return settings.model_copy(update={"replicas": min(settings.replicas, settings.few)})
