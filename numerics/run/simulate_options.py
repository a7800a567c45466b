"""`simulate`: which dynamics goes with which noise and sampling, and which option belongs to which.

Anything else is refused in one line.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from math import inf
from typing import Any, ClassVar

from pydantic import Field

from numerics.errors import InputError
from numerics.run.settings import Auto, Settings, default_of, validated_as

DYNAMICS = ("sgd", "momentum", "gradient-flow", "sde", "sde2", "slow-law")
FRESH = ("gaussian", "rademacher", "student")
NOISES = (*FRESH, "flips", "minibatch", "isotropic", "static", "dropout")
SAMPLINGS = ("with-replacement", "without-replacement", "shuffle")

#: noise that each dynamics can have, and why not others
_NOISE_OF: dict[str, tuple[tuple[str, ...], str]] = {
    "sgd": (NOISES, ""),
    "momentum": (NOISES, ""),
    "gradient-flow": (("none", "static"), "gradient flow sees neither batches nor fresh noise"),
    "sde": (("gaussian", "minibatch"), "the equation C14 knows the covariance of batches and label noise only"),
    "sde2": (("gaussian", "minibatch"), "the equation C14 knows the covariance of batches and label noise only"),
    "slow-law": ((*FRESH, "flips"), "no slow law is known for it"),
}
_SAMPLED = ("sgd", "momentum", "slow-law")

#: option -> which of dynamics or noise it belongs to, and its default for each value that it belongs to
_OWNED: dict[str, tuple[str, dict[str, float]]] = {
    "momentum": ("dynamics", {"momentum": 0.9}),
    "substeps": ("dynamics", {"sde": 8, "sde2": 4}),
    "freedom": ("noise", {"student": 8.0}),
    "flip": ("noise", {"flips": 0.2}),
    "tau": ("noise", {"isotropic": 0.0}),
    "dropout": ("noise", {"dropout": 0.02}),
    "sigma": ("noise", dict.fromkeys((*FRESH, "static"), 0.03)),
}
#: replicas where rho itself diffuses, and with --small at most
_MANY, _MANY_SMALL = 480, 160
#: option -> the range it must lie in, as a test and in words
_RANGES: dict[str, tuple[Callable[[float], bool], str, str]] = {
    "momentum": (lambda x: 0 <= x < 1, "is not in [0, 1)", "give a number below 1"),
    "substeps": (lambda x: x >= 1, "is below 1", "give at least 1"),
    "freedom": (lambda x: 4 < x < inf, "is not above 4: losses would have no variance", "give a larger number"),
    "flip": (lambda x: 0 < x < 0.5, "is not in (0, 1/2)", "flip some labels, fewer than half"),
    "tau": (lambda x: 0 <= x < inf, "is not a standard deviation", "give a positive number, or leave it to the law"),
    "dropout": (lambda x: 0 < x < 1, "is not in (0, 1)", "drop some entries, not all"),
    "sigma": (lambda x: 0 <= x < inf, "is not a standard deviation", "give 0 or a positive number"),
}


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A valid combination, every number resolved; those that play no part are 0. ``tau`` 0 means: from the law."""

    dynamics: str
    noise: str
    sampling: str
    sigma: float
    momentum: float
    substeps: int
    freedom: float
    flip: float
    tau: float
    dropout: float

    @property
    def random(self) -> bool:
        """Whether replicas differ."""
        return self.dynamics not in ("gradient-flow", "slow-law")


def _own(option: str, text: str) -> Any:
    """A field of a number that belongs to some dynamics or noise, with the defaults in its help."""
    numbers = list(dict.fromkeys(_OWNED[option][1].values()))
    shown = f"{numbers[0]:g}" if len(numbers) == 1 else ", ".join(f"{k}: {v:g}" for k, v in _OWNED[option][1].items())
    return Field(description=f"{text} [{shown}]")


class SimulateSettings(Settings):
    """Settings of the job simulate, its choice resolved: validated once more, they are the same."""

    hidden: ClassVar[frozenset[str]] = Settings.hidden | {"decay_at", "decay_factor", "device", "engine", "precision"}

    dynamics: str = Field(DYNAMICS[0], description=f"{', '.join(DYNAMICS)} (sde2: of weak order two)")
    noise: str = Field(description=f"{', '.join(NOISES)} [{FRESH[0]}; gradient-flow: none]")
    sampling: str = Field(description=f"{', '.join(SAMPLINGS)} [{SAMPLINGS[0]}]")
    momentum: float = _own("momentum", "beta of heavy ball")
    substeps: int = _own("substeps", "time steps of the SDE's scheme per step of SGD")
    sigma: float = _own("sigma", "standard deviation of the label noise")
    freedom: float = _own("freedom", "degrees of freedom of Student's noise, above 4")
    flip: float = _own("flip", "probability that a label is flipped in a step")
    tau: float = Field(description="isotropic noise on every component of the gradient [from the law]")
    dropout: float = _own("dropout", "probability that an entry of a drawn input is put to 0")
    batch: int = Field(default_of("batch"), ge=1, description="batch size")
    eta_fraction: float = Field(
        0.5, gt=0, lt=1, description="that share; flips, isotropic and dropout take a small one of their own"
    )
    steps: int | Auto = Field(default_of("steps"), description="steps, or auto: from the law")
    replicas: int = Field(
        ge=2,
        description=f"independent runs, where anything is random [{default_of('replicas')}; isotropic: {_MANY}, with "
        f"--small {_MANY_SMALL}]",
    )

    @property
    def random(self) -> bool:
        """Whether replicas differ."""
        return self.choice.random

    @property
    def few(self) -> int:
        """With --small at most so many replicas."""
        return _MANY_SMALL if self.noise == "isotropic" else super().few

    @property
    def choice(self) -> Choice:
        """Dynamics, noise and sampling."""
        return Choice(**{field.name: getattr(self, field.name) for field in fields(Choice)})


def settings_of(given: Mapping[str, Any]) -> SimulateSettings:
    """The settings that the options ask for by name; None, or none at all, is the default. Raises InputError."""
    said = {name: value for name, value in given.items() if value is not None}
    names = {"dynamics": said.pop("dynamics", DYNAMICS[0]), "noise": said.pop("noise", None)}
    own = {name: said.pop(name, None) for name in _OWNED}
    for name, value in own.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise InputError(name, value, "is not a number", "give one")
    chosen = choice(**names, sampling=said.pop("sampling", None), given=own)
    said.setdefault("replicas", _MANY if chosen.noise == "isotropic" else default_of("replicas"))
    return validated_as(SimulateSettings, job="simulate", **asdict(chosen), **said)


def points(given: Sequence[Mapping[str, Any]]) -> list[SimulateSettings]:
    """The settings of many points that share a table of options: each leaves out those that play no part in it.

    Raises InputError for an option that plays no part in any of them.
    """
    played = [{name for name in _OWNED if _plays(name, one)} for one in given]
    idle = {*_OWNED}.difference(*played)
    return [
        settings_of({name: value for name, value in one.items() if name not in _OWNED or name in part | idle})
        for one, part in zip(given, played, strict=True)
    ]


def _plays(option: str, given: Mapping[str, Any]) -> bool:
    owner, defaults = _OWNED[option]
    dynamics = given.get("dynamics", DYNAMICS[0])
    default = {"dynamics": dynamics, "noise": _NOISE_OF[dynamics][0][0] if dynamics in DYNAMICS else None}
    return str(given.get(owner, default[owner])) in defaults


def choice(dynamics: str, noise: str | None, sampling: str | None, given: Mapping[str, float | None]) -> Choice:
    """The choice of these options; None where one was left out, 0 too where it plays no part.

    Raises InputError for what does not go together.
    """
    _known("dynamics", dynamics, DYNAMICS)
    allowed, why = _NOISE_OF[dynamics]
    noise = allowed[0] if noise is None else noise
    _known("noise", noise, (*NOISES, *(["none"] if dynamics == "gradient-flow" else [])))
    if noise not in allowed:
        rule = f"does not go with dynamics = {dynamics}: {why}"
        raise InputError("noise", noise, rule, f"choose {' or '.join(allowed)}")
    return Choice(
        dynamics=dynamics,
        noise=noise,
        sampling=_sampling(dynamics, sampling),
        **_numbers({"dynamics": dynamics, "noise": noise}, given),  # type: ignore[arg-type]
    )


def _sampling(dynamics: str, sampling: str | None) -> str:
    if sampling is None:
        return SAMPLINGS[0]
    _known("sampling", sampling, SAMPLINGS)
    if dynamics not in _SAMPLED and sampling != SAMPLINGS[0]:
        rule = f"does not go with dynamics = {dynamics}, which draws no batches"
        raise InputError("sampling", sampling, rule, "leave it out, or --dynamics sgd")
    return sampling


def _numbers(names: dict[str, str], given: Mapping[str, float | None]) -> dict[str, float]:
    """Each owned option: as given, its default, or 0 where it plays no part. Raises InputError where it is given."""
    found: dict[str, float] = {}
    for option, (owner, defaults) in _OWNED.items():
        value, name = given.get(option), names[owner]
        if value and name not in defaults:
            rule = f"has no meaning for {owner} = {name}"
            raise InputError(option, value, rule, f"leave it out, or --{owner} {' or '.join(defaults)}")
        found[option] = (defaults[name] if value is None else value) if name in defaults else 0
        holds, rule, remedy = _RANGES[option]
        if name in defaults and not holds(found[option]):
            raise InputError(option, found[option], rule, remedy)
    return found


def _known(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InputError(name, value, "is unknown", f"choose {', '.join(known)}")
