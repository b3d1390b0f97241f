"""Which source each sample of a run is taken from: a pure function of the sample's number, with nothing to store.

The sources lie side by side on a line, each as long as its share. Sample i points at the fraction whose binary digits
are those of i in reverse order (van der Corput, 1935): of any 2^k samples from a multiple of 2^k on, one points into
each of 2^k equal parts of the line. So every such block holds each source's share to less than one sample, and how
often a source was drawn before is a sum over the binary digits of i.
"""

from bisect import bisect_right
from collections.abc import Mapping
from fractions import Fraction
from itertools import accumulate

_BITS = 64
_LINE = 1 << _BITS


class BlendError(Exception):
    """A blend that does not fit the sources there are; one sentence with the source and the mend."""


class SourceBlend:
    """An endless draw of sources by `weights`, all above 0, of which only the ratios count.

    In the first n samples a source has its share of n to less than the number of ones among the binary digits of n;
    in a whole block of 1,024 samples, or of another power of two, to less than one. No share is too small to be drawn.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        self.sources = tuple(sorted(weights))
        ends = list(accumulate((Fraction(weights[source]) for source in self.sources), initial=Fraction(0)))
        self._borders = [int(end / ends[-1] * _LINE) for end in ends]
        self._positions = {source: position for position, source in enumerate(self.sources)}

    def locate(self, number: int) -> tuple[str, int]:
        """The source of sample `number`, and how many of the samples before are of it."""
        if not 0 <= number < _LINE:
            raise IndexError(f"sample {number} is outside 0 to 2^{_BITS}")
        source = self.sources[bisect_right(self._borders, _reversed(number)) - 1]
        return source, self.count(source, number)

    def count(self, source: str, samples: int) -> int:
        """How many of the first `samples` samples are of `source`."""
        position = self._positions[source]
        return _points_below(self._borders[position + 1], samples) - _points_below(self._borders[position], samples)


def weights_of(blend: Mapping[str, float], windows: Mapping[str, int]) -> dict[str, float]:
    """The weights above 0: those of `blend`, or with an empty one the number of each source's windows.

    BlendError unless a blend that is not empty names every source of `windows`, no other, and weighs none without a
    window.
    """
    there = ", ".join(sorted(windows)) or "none"
    for source in sorted(blend.keys() - windows.keys()):
        raise BlendError(f"pretrain.blend names {source!r}, but the sources of split 'train' are {there}; correct it")
    if blend:
        for source in sorted(windows.keys() - blend.keys()):
            raise BlendError(
                f"pretrain.blend has no weight for source {source!r}; give it one (0 leaves it out), or set blend to "
                "{} for all by their size"
            )
    weights = {source: weight for source, weight in (blend or windows).items() if weight}
    for source in sorted(weights):
        if not windows[source]:
            raise BlendError(
                f"pretrain.blend weighs source {source!r}, which does not fill one window of "
                "model.context_length_tokens; set its weight to 0 or ingest more of it"
            )
    return weights


def _reversed(number: int) -> int:
    return int(f"{number:0{_BITS}b}"[::-1], 2)


def _points_below(border: int, samples: int) -> int:
    """How many of the first `samples` samples point below `border`, block by block of a power of two, largest first."""
    below = first_point = 0
    while samples:
        exponent = samples.bit_length() - 1
        between_points = _LINE >> exponent
        below += max(0, -((first_point - border) // between_points))
        first_point |= between_points >> 1
        samples ^= 1 << exponent
    return below
