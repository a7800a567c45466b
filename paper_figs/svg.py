"""Line plots as SVG text, in a millisecond: matplotlib is too slow to follow a slider."""

import base64
import struct
import zlib
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

    def image(self, rgb: npt.NDArray[np.uint8]) -> None:
        """An image ``(h, w, 3)`` that fills the axes, first row at the top."""
        data = base64.b64encode(png(rgb)).decode()
        size = f'width="{self.width - _LEFT - _RIGHT}" height="{self.height - _TOP - _BOTTOM}"'
        self.parts.append(
            f'<image x="{_LEFT}" y="{_TOP}" {size} preserveAspectRatio="none" href="data:image/png;base64,{data}"/>'
        )

    def text(self, alt: str) -> str:
        """The SVG."""
        clip = f"c{abs(hash((self.title, self.width))) % 10**8}"
        frame = f'x="{_LEFT}" y="{_TOP}" width="{self.width - _LEFT - _RIGHT}" height="{self.height - _TOP - _BOTTOM}"'
        return (
            f'<svg role="img" aria-label="{escape(alt, quote=True)}" viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" style="max-width:100%;background:white" '
            f'font-family="system-ui,sans-serif" font-size="11"><clipPath id="{clip}"><rect {frame}/></clipPath>'
            f'<text x="{_LEFT}" y="16" font-size="13" font-weight="600">{escape(self.title)}</text>'
            f'<g clip-path="url(#{clip})">{"".join(self.parts)}</g><rect {frame} fill="none" stroke="#999"/>'
            f"{self._ticks()}{self._legend()}</svg>"
        )

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


def png(rgb: npt.NDArray[np.uint8]) -> bytes:
    """A PNG of ``(h, w, 3)`` bytes."""
    height, width, _ = rgb.shape
    raw = b"".join(b"\0" + row.tobytes() for row in rgb)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw, 1)) + chunk(b"IEND", b"")
