"""Line plots and surfaces as SVG text, in a millisecond: matplotlib is too slow to follow a slider."""

from dataclasses import dataclass, field
from html import escape

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
_LEFT, _TOP, _RIGHT, _BOTTOM = 56, 26, 10, 40


@dataclass
class Panel:
    """Axes of width x height pixels; things are added in data coordinates, `text` gives the SVG."""

    title: str
    xlabel: str
    ylabel: str
    xlim: tuple[float, float]
    ylim: tuple[float, float]
    width: int = 420
    height: int = 280
    log: bool = False
    parts: list[str] = field(default_factory=list)
    legend: list[tuple[str, str, str]] = field(default_factory=list)

    def x(self, values: npt.ArrayLike) -> FloatArray:
        """Pixels."""
        low, high = self.xlim
        return _LEFT + (np.asarray(values, float) - low) / (high - low) * (self.width - _LEFT - _RIGHT)

    def y(self, values: npt.ArrayLike) -> FloatArray:
        """Pixels, downwards."""
        low, high = np.log10(self.ylim) if self.log else self.ylim
        shown = np.log10(np.maximum(values, 1e-300)) if self.log else np.asarray(values, float)
        return self.height - _BOTTOM - (shown - low) / (high - low) * (self.height - _TOP - _BOTTOM)

    def line(
        self, x: npt.ArrayLike, y: npt.ArrayLike, colour: str, *, dash: str = "", name: str = "", width: float = 2
    ) -> None:
        """A curve."""
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(self.x(x), self.y(y), strict=True))
        self.parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" '
            f'stroke-width="{width}" stroke-dasharray="{dash}"/>'
        )
        if name:
            self.legend.append((name, colour, dash))

    def points(self, x: npt.ArrayLike, mean: FloatArray, sem: FloatArray, colour: str, *, name: str = "") -> None:
        """Means with bars of two standard errors."""
        low, high = self.y(np.maximum(mean - 2 * sem, 1e-300 if self.log else -np.inf)), self.y(mean + 2 * sem)
        for a, b, c, e in zip(self.x(x), self.y(mean), low, high, strict=True):
            self.parts.append(
                f'<path d="M{a:.1f} {c:.1f}V{e:.1f}" stroke="{colour}"/>'
                f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="white" stroke="{colour}" stroke-width="1.3"/>'
            )
        if name:
            self.legend.append((name, colour, "points"))

    def text(self, alt: str) -> str:
        """The SVG."""
        clip = f"c{abs(hash((self.title, self.width))) % 10**8}"
        frame = f'x="{_LEFT}" y="{_TOP}" width="{self.width - _LEFT - _RIGHT}" height="{self.height - _TOP - _BOTTOM}"'
        inside = (
            f'<clipPath id="{clip}"><rect {frame}/></clipPath><g clip-path="url(#{clip})">{"".join(self.parts)}</g>'
            f'<rect {frame} fill="none" stroke="#999"/>{self._ticks()}{self._legend()}'
        )
        return picture(self.title, alt, self.width, self.height, inside)

    def _ticks(self) -> str:
        bottom = self.height - _BOTTOM
        parts = [
            f'<text x="{a:.1f}" y="{bottom + 14}" text-anchor="middle">{number(v)}</text>'
            for v, a in zip(ticks(*self.xlim), self.x(ticks(*self.xlim)), strict=True)
        ]
        levels = decades(*self.ylim) if self.log else ticks(*self.ylim)
        parts += [
            f'<text x="{_LEFT - 5}" y="{b + 4:.1f}" text-anchor="end">{number(v)}</text>'
            for v, b in zip(levels, self.y(levels), strict=True)
        ]
        middle, centre = (self.width + _LEFT) / 2, (bottom + _TOP) / 2
        parts.append(f'<text x="{middle}" y="{self.height - 8}" text-anchor="middle">{escape(self.xlabel)}</text>')
        parts.append(
            f'<text transform="translate(12 {centre}) rotate(-90)" text-anchor="middle">{escape(self.ylabel)}</text>'
        )
        return "".join(parts)

    def _legend(self) -> str:
        parts, x = [], self.width - _RIGHT - 8
        for i, (name, colour, dash) in enumerate(self.legend):
            y = _TOP + 14 + 15 * i
            sample = (
                f'<circle cx="{x - 10}" cy="{y - 4}" r="3" fill="white" stroke="{colour}"/>'
                if dash == "points"
                else f'<path d="M{x - 20} {y - 4}H{x}" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>'
            )
            parts.append(f'{sample}<text x="{x - 26}" y="{y}" text-anchor="end">{escape(name)}</text>')
        return "".join(parts)


@dataclass
class Surface:
    """A surface z ``(m, m)`` in [0, 1] over the square [-half, half]^2, seen from a direction; angles in degrees.

    Faces are painted from the far ones to the near ones.
    """

    title: str
    half: float
    z: FloatArray
    azimuth: float
    elevation: float = 52.0
    relief: float = 0.8
    width: int = 420
    height: int = 280
    parts: list[str] = field(default_factory=list)

    def project(self, x: FloatArray, y: FloatArray, z: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Pixels, and the depth behind the picture's plane."""
        turn, rise = np.radians(self.azimuth), np.radians(self.elevation)
        right = (np.cos(turn) * x + np.sin(turn) * y) / self.half
        away = (-np.sin(turn) * x + np.cos(turn) * y) / self.half
        up = self.relief * (z - 0.5)
        scale = self.height / 3.1
        across = self.width / 2 + scale * 1.25 * right
        down = self.height / 2 + 14 - scale * (np.sin(rise) * away + np.cos(rise) * up)
        return across, down, np.cos(rise) * away - np.sin(rise) * up

    def faces(self, colours: npt.NDArray[np.uint8]) -> None:
        """The surface, its faces coloured by height from a table ``(256, 3)``."""
        grid = np.linspace(-self.half, self.half, len(self.z))
        x, y = np.meshgrid(grid, grid)
        across, down, depth = self.project(x, y, self.z)
        level = (self.z[1:, 1:] + self.z[1:, :-1] + self.z[:-1, 1:] + self.z[:-1, :-1]) / 4
        near = (depth[1:, 1:] + depth[:-1, :-1]).ravel()
        corners = [(slice(None, -1), slice(None, -1)), (slice(None, -1), slice(1, None))]
        corners += [(slice(1, None), slice(1, None)), (slice(1, None), slice(None, -1))]
        points = np.stack([axis[place].ravel() for place in corners for axis in (across, down)], axis=1)
        shades = [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in colours[(level.ravel() * 255).astype(int)].tolist()]
        order = np.argsort(-near, kind="stable")
        self.parts.append('<g shape-rendering="crispEdges">')  # without it, seams between faces
        for (a, b, c, d, e, f, g, h), k in zip(points[order].tolist(), order.tolist(), strict=True):
            path = f"M{a:.1f} {b:.1f}L{c:.1f} {d:.1f} {e:.1f} {f:.1f} {g:.1f} {h:.1f}z"
            self.parts.append(f'<path d="{path}" fill="{shades[k]}"/>')
        self.parts.append("</g>")

    def line(self, x: FloatArray, y: FloatArray, z: FloatArray, colour: str, *, width: float = 2) -> None:
        """A curve on top; points beyond the square are left out."""
        across, down, _ = self.project(x, y, z)
        inside = (np.abs(x) <= self.half) & (np.abs(y) <= self.half)
        for run in np.split(np.arange(x.size), np.flatnonzero(np.diff(inside.astype(int))) + 1):
            if inside[run[0]]:
                points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(across[run], down[run], strict=True))
                self.parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}"/>')

    def mark(self, x: float, y: float, z: float, colour: str, name: str) -> None:
        """A named point on top."""
        across, down, _ = self.project(np.array(x), np.array(y), np.array(z))
        self.parts.append(
            f'<circle cx="{across:.1f}" cy="{down:.1f}" r="4.5" fill="{colour}" stroke="white" stroke-width="1.2"/>'
            f'<text x="{across + 8:.1f}" y="{down + 4:.1f}" fill="black" stroke="white" stroke-width="3" '
            f'paint-order="stroke">{escape(name)}</text>'
        )

    def axes(self, xname: str, yname: str) -> None:
        """The names of the two axes at the edges of the square."""
        for x, y, name in ((0.0, -1.12, xname), (-1.12, 0.0, yname)):
            across, down, _ = self.project(np.array(x * self.half), np.array(y * self.half), np.array(1.0))
            self.parts.append(f'<text x="{across:.1f}" y="{down:.1f}" text-anchor="middle">{escape(name)}</text>')

    def text(self, alt: str) -> str:
        """The SVG."""
        return picture(self.title, alt, self.width, self.height, "".join(self.parts))


def picture(title: str, alt: str, width: int, height: int, inside: str) -> str:
    """An SVG element with a title and an alternative text."""
    return (
        f'<svg role="img" aria-label="{escape(alt, quote=True)}" viewBox="0 0 {width} {height}" '
        f'width="{width}" style="max-width:100%;background:white" font-family="system-ui,sans-serif" font-size="11">'
        f'<text x="{_LEFT}" y="16" font-size="13" font-weight="600">{escape(title)}</text>{inside}</svg>'
    )


def ticks(low: float, high: float) -> FloatArray:
    """Four to eight round numbers between the limits."""
    span = high - low
    unit = 10.0 ** np.floor(np.log10(span / 4))
    unit *= next(f for f in (1, 2, 5, 10) if span / (unit * f) <= 6)
    return np.round(np.arange(np.ceil(low / unit - 1e-9), np.floor(high / unit + 1e-9) + 1) * unit, 12) + 0.0


def decades(low: float, high: float) -> FloatArray:
    """Powers of ten between the limits; the limits themselves where there are fewer than two."""
    found = 10.0 ** np.arange(np.ceil(np.log10(low)), np.floor(np.log10(high)) + 1)
    return found if found.size > 1 else np.array([low * 1.05, high * 0.95])


def number(value: float) -> str:
    """Short: 12k, 0.5, 1e-05."""
    value = value or 0.0  # no minus zero
    if abs(value) >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1e3:g}k" if abs(value) >= 1e4 else f"{value:.3g}"
