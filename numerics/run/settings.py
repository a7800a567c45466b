"""What a job is asked to do: one frozen, validated record."""

import sys
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from numerics.errors import InputError

Auto = Literal["auto"]
S = TypeVar("S", bound="Settings")

#: training rows of named data; with --small at most
DEFAULT_ROWS, SMALL_ROWS = 20, 8
#: `auto` steps: the law takes rho to this share of rho0 (or of the way to where the drift stops)
AUTO_RHO = 0.15
#: `auto` rho0: this multiple of |w_mn|
AUTO_RHO0 = 1.5

#: replicas with --small at most, of a job and of a diagram's cell
_SMALL_REPLICAS, _SMALL_COPIES = 40, 16

_FEATURES = "random Fourier features, 0 for none [0; diabetes: max(200, 4 n)]; gaussian: columns [4 n]"
_SHAPES = "radial, coordinatewise, diagonal-difference, diagonal-product, sinh, tanh"
_START = f"start: distance from the minimum-norm solution, or auto: {AUTO_RHO0} |w_mn|"
_ENGINES = "numba, torch, triton, or auto: numba on the CPU, the fastest on a card"
_PRECISIONS = "float64, or float32 on the torch and triton engines"


class Settings(BaseModel):
    """Settings of a job, as given. Units: steps, and the units of the data.

    Raises InputError (through `validated`) for a value out of range.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    #: fields that are no options of the job
    hidden: ClassVar[frozenset[str]] = frozenset({"job", "first_replica"})

    job: str
    data: str = Field("digits", description="digits, diabetes, gaussian, a .npz or a .csv file")
    n: int | None = Field(None, ge=1, description=f"training rows [{DEFAULT_ROWS}; a file: all]")
    features: int | None = Field(None, ge=0, description=_FEATURES)
    target: str | None = Field(None, description="digits: parity or class [parity]; csv: column of y")
    parametrization: str = Field("radial", description=_SHAPES)
    depth: float = Field(3.0, ge=1, le=50, description="depth D, real, at least 1")
    eta: float | Auto = Field("auto", description="learning rate, or auto: a share of the stability limit")
    eta_fraction: float = Field(0.6, gt=0, lt=1, description="that share")
    batch: int = Field(4, ge=1, description="batch size, drawn with replacement")
    sigma: float = Field(0.03, ge=0, description="standard deviation of the fresh label noise")
    rho0: float | Auto = Field("auto", description=_START)
    steps: int | Auto = Field("auto", description="steps (late-decay: of the trunk), or auto: from the law")
    decay_at: int | Auto = Field("auto", description="phase3, late-decay: step of the decay, or auto")
    decay_factor: float = Field(10.0, gt=1, description="the decay divides the learning rate by this")
    replicas: int = Field(48, ge=2, description="independent runs")
    first_replica: int = Field(0, ge=0)
    records: int = Field(800, ge=10, description="points along a curve")
    seed: int = Field(0, ge=0, lt=2**64, description="of everything random")
    threads: int = Field(2, ge=1, description="of the CPU; results do not depend on it")
    device: str = Field("cpu", description="cpu, cuda or cuda:1")
    engine: Literal["auto", "numba", "torch", "triton"] = Field("auto", description=_ENGINES)
    precision: Literal["float64", "float32"] = Field("float64", description=_PRECISIONS)
    out: Path = Field(description="folder for figure, netCDF and summary.json")
    small: bool = Field(
        False, description=f"a few seconds: at most {SMALL_ROWS} rows of named data, {_SMALL_REPLICAS} replicas"
    )
    force: bool = Field(False, description="run above the stability limit, and report the divergence")

    @classmethod
    def offered(cls) -> list[str]:
        """The fields that are options of the job, its own before those of every job."""
        own = [name for name in cls.model_fields if name not in Settings.model_fields]
        return [name for name in (*own, *Settings.model_fields) if name not in cls.hidden]

    @property
    def rows(self) -> int | None:
        """Training rows to load; None: all that a file has."""
        if files_of(self.data):
            return self.n
        return min(self.n or DEFAULT_ROWS, SMALL_ROWS if self.small else sys.maxsize)

    @property
    def random(self) -> bool:
        """Whether replicas differ."""
        return True

    @property
    def few(self) -> int:
        """With --small at most so many replicas."""
        return _SMALL_REPLICAS

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


class DiagramSettings(Settings):
    """Settings of the job phase-diagram: what its cells share."""

    hidden: ClassVar[frozenset[str]] = Settings.hidden | {"decay_at", "decay_factor", "records", "force"}

    eta: float | Auto = Field("auto", description="learning rate where it does not vary, or auto: a share of the limit")
    steps: int | Auto = Field(
        "auto", description="steps of every cell, or auto: from the law at the middle of the grid (C6)"
    )
    replicas: int = Field(16, ge=2, description="independent runs per cell")
    small: bool = Field(
        False,
        description=f"a few seconds: at most 4 x 3 cells, {_SMALL_COPIES} replicas, {SMALL_ROWS} rows; 4000 steps",
    )

    @property
    def few(self) -> int:
        """With --small at most so many replicas."""
        return _SMALL_COPIES


def default_of(name: str) -> Any:
    """What a setting is where nothing is said."""
    return Settings.model_fields[name].default


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
    if settings.decay_at == "auto":
        return
    if settings.decay_at < 0:
        raise InputError("decay-at", settings.decay_at, "is negative", "give a step from 0 on, or auto")
    if settings.job in ("phase1", "phase2"):
        rule = f"has no meaning for {settings.job}, which ends before the decay"
        raise InputError("decay-at", settings.decay_at, rule, "leave it out, or run phase3 or late-decay")


def _made_small(settings: S) -> S:
    """The same job in a few seconds: fewer replicas; named data give fewer rows."""
    return settings.model_copy(update={"replicas": min(settings.replicas, settings.few)})
