"""Random numbers that are a function of where you ask, not of what was drawn before.

Every value of the synthetic market is a hash of (seed, name, index), so that any instant can be opened at once and is
the same in every process. Only integer operations and the exact operations of IEEE 754 (+, −, ×, ÷, rounding) are
used: libraries differ in the last bit of `exp` or `sin`, and one bit is enough to move a price by a tick.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bits = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
_FACTOR = 4  # each level of the pyramid has a knot for four knots of the level below


def key_of(*parts: object) -> int:
    """Return the 64-bit key of a stream of random numbers; the same parts give the same key everywhere."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


def bits(key: int, indices: Ints) -> Bits:
    """Return 64 random bits for each index (splitmix64 started at key + index)."""
    z = indices.astype(np.uint64)
    z += np.uint64(1)
    z *= _GOLDEN
    z += np.uint64(key)
    z ^= z >> _S30
    z *= _FIRST
    z ^= z >> _S27
    z *= _SECOND
    z ^= z >> _S31
    return z


def units(key: int, indices: Ints) -> Floats:
    """Return a number in [0, 1) for each index."""
    return (bits(key, indices) >> _S11).astype(np.float64) * 2.0**-53


def unit(key: int, index: int) -> float:
    """Return the number in [0, 1) of one index."""
    return float(units(key, np.array([index], dtype=np.int64))[0])


def exponential(x: Floats) -> Floats:
    """Return about e^x for |x| < 4 by ten squarings; smooth, increasing, and the same on every machine."""
    y = 1.0 + x / 1024.0
    for _ in range(10):
        y = y * y
    return y


def pyramid(key: int, amplitudes: tuple[float, ...], first: int, count: int, *, calm: int | None = None) -> Floats:
    """Return fractal noise at `count` consecutive indices from `first`: a random walk that can be opened anywhere.

    Level k has a random value in ±amplitudes[k] at every 4^k-th index, with straight lines between; the levels are
    added from the coarsest down, so the cost is 4/3 of the count. `calm` names a key whose slow noise scales the
    levels below 4^7 by 0.4 … 2.2, which makes quiet and stormy fortnights.
    """
    top = len(amplitudes) - 1
    bounds = _bounds(first, count, top)
    walk = np.zeros(bounds[top][1])
    for level in range(top, -1, -1):
        start, size = bounds[level]
        if level < top:
            walk = _refine(walk, bounds[level + 1][0], start, size)
        if amplitudes[level]:
            indices = np.arange(start, start + size, dtype=np.int64)
            walk = walk + _knots(key, amplitudes[level], level, indices, calm)
    return walk


def pyramid_at(key: int, amplitudes: tuple[float, ...], indices: Ints, *, calm: int | None = None) -> Floats:
    """Return what `pyramid` has at single indices, however far apart, to the last bit."""
    top = len(amplitudes) - 1
    offsets = np.arange(3, dtype=np.int64)
    walk = np.zeros((len(indices), 3))
    for level in range(top, -1, -1):
        knots = (indices >> (2 * level))[:, None] + offsets
        if level < top:
            parent = (knots >> 2) - (indices >> (2 * (level + 1)))[:, None]
            left = np.take_along_axis(walk, parent, axis=1)
            right = np.take_along_axis(walk, parent + 1, axis=1)
            walk = left + (right - left) * ((knots & 3) / _FACTOR)
        if amplitudes[level]:
            noise = _knots(key, amplitudes[level], level, knots.reshape(-1), calm)
            walk = walk + noise.reshape(walk.shape)
    return walk[:, 0]


def _knots(key: int, amplitude: float, level: int, indices: Ints, calm: int | None) -> Floats:
    noise = (2.0 * units((key + level) % 2**64, indices) - 1.0) * amplitude
    if calm is not None and level < 7:
        noise *= _storminess(calm, indices >> (2 * (7 - level)))
    return noise


def _bounds(first: int, count: int, top: int) -> list[tuple[int, int]]:
    """First knot and number of knots needed at each level."""
    bounds = [(first, count)]
    for _ in range(top):
        start, size = bounds[-1]
        knot = start // _FACTOR
        bounds.append((knot, (start + size - 1) // _FACTOR + 2 - knot))
    return bounds


def _refine(coarse: Floats, coarse_start: int, start: int, size: int) -> Floats:
    steps = np.diff(coarse)
    lines = [coarse[:-1] + steps * (part / _FACTOR) for part in range(_FACTOR)]
    fine = np.stack(lines, axis=1).reshape(-1)
    offset = start - coarse_start * _FACTOR
    return fine[offset : offset + size]


def _storminess(key: int, fortnights: Ints) -> Floats:
    drawn = units(key, fortnights)
    return 0.4 + 1.8 * drawn * drawn
