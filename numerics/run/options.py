"""Options of a command, made from the settings that it fills: name, type, default, range and help are said there alone.

@options_of(DiagramSettings, job="phase-diagram")
def command(x: X = "...", **given: Any) -> None:  # its own options first, then one for each setting
    settings = validated_as(DiagramSettings, job="phase-diagram", **values(given))
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, get_args

import typer
from pydantic.fields import FieldInfo

from numerics.errors import InputError
from numerics.run.settings import Auto, Settings

Command = Callable[..., None]

#: two that commands without such settings have, too
Device = Annotated[str, typer.Option(help=Settings.model_fields["device"].description)]
Shape = Annotated[str, typer.Option(help=Settings.model_fields["parametrization"].description)]

_GAMMA = (float | None, None, "the paper's gamma = D - 1, instead of --depth")


def options_of(kind: type[Settings], *, job: str, only: Iterable[str] | None = None) -> Callable[[Command], Command]:
    """Give a command ``(..., **given)`` an option for each setting, or for those named, after its own."""
    names = kind.offered() if only is None else only

    def decorate(command: Command) -> Command:
        own = [p for p in inspect.signature(command).parameters.values() if p.kind is not p.VAR_KEYWORD]
        made = [p for name in names for p in _parameters(name, kind.model_fields[name], job)]
        command.__signature__ = inspect.Signature([*own, *made])  # type: ignore[attr-defined]
        return command

    return decorate


def _parameters(name: str, field: FieldInfo, job: str) -> list[inspect.Parameter]:
    text = field.description or ""
    if name == "depth":  # one of two options, the setting's default where neither is given
        return [_parameter(name, float | None, None, f"{text} [{field.default:g}]"), _parameter("gamma", *_GAMMA)]
    if name == "out":
        return [_parameter(name, Path, Path("out") / job, text)]
    kind, default = _kind(field), None if field.is_required() else field.default
    return [_parameter(name, kind | None if default is None else kind, default, text)]


def _parameter(name: str, kind: Any, default: Any, text: str) -> inspect.Parameter:
    told = Annotated[kind, typer.Option(*([f"--{name}"] if kind is bool else []), help=text)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=told)


def _kind(field: FieldInfo) -> Any:
    """What an option takes: text where the setting is one of several words, or a number or a word."""
    parts = [part for part in get_args(field.annotation) or (field.annotation,) if part is not NoneType]
    return parts[0] if len(parts) == 1 else str


def values(given: Mapping[str, Any], kind: type[Settings] = Settings) -> dict[str, Any]:
    """The settings that options ask for: texts read as numbers, gamma as depth, without what was left out.

    Raises InputError.
    """
    said = {name: value for name, value in given.items() if value is not None}
    gamma = said.pop("gamma", None)
    if gamma is not None:
        said["depth"] = _depth(said.get("depth"), gamma)
    for name in {*said} & {*kind.model_fields}:
        parts = get_args(kind.model_fields[name].annotation)
        if Auto in parts and isinstance(said[name], str):
            said[name] = _number_or_auto(name, said[name], parts[0])
    return said


def _depth(depth: float | None, gamma: float) -> float:
    if depth is not None and depth != gamma + 1:
        raise InputError("gamma", gamma, f"contradicts depth = {depth:g} (gamma = D - 1)", "give one of the two")
    if not gamma >= 0:
        raise InputError("gamma", gamma, "is negative", "give gamma = D - 1 of at least 0")
    return gamma + 1


def _number_or_auto(name: str, text: str, kind: type[int] | type[float]) -> object:
    if text == "auto":
        return text
    try:
        value = float(text)
        if kind is int and value != int(value):
            raise ValueError
        return kind(value)
    except (ValueError, OverflowError):
        what = "a whole number" if kind is int else "a number"
        raise InputError(name.replace("_", "-"), text, f"is neither {what} nor auto", "give one of them") from None
