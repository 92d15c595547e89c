"""Named wavelets as lists of lifting steps."""

from difflib import get_close_matches
from typing import Literal, NamedTuple

from liftlayers.functional._scheme_tables import TABLE

OTHER: dict[str, Literal["approx", "detail"]] = {"approx": "detail", "detail": "approx"}


class LiftingStep(NamedTuple):
    r"""One lifting step: adds to every sample of one half a weighted sum of samples of the other half.

    .. math:: t_n \leftarrow t_n + \sum_j c_j \, o_{n + f + j}

    References:
        [Sweldens1998]_; [Daubechies1998]_.

    Example:
        >>> LiftingStep("detail", (-0.5, -0.5), 0)  # subtracts the mean of both neighbours from every odd sample
        LiftingStep(target='detail', taps=(-0.5, -0.5), first=0)
    """

    target: Literal["approx", "detail"]
    """The half :math:`t` that changes; :math:`o` is the other half. Odd samples are the detail."""
    taps: tuple[float, ...]
    """The weights :math:`c_j`."""
    first: int
    """The offset :math:`f` of the first tap."""


class Scheme(NamedTuple):
    r"""A wavelet transform of a line: split into even and odd samples, the steps in order, then the scales.

    .. math::

        \begin{pmatrix} a \\ d \end{pmatrix} = \begin{pmatrix} K_a & 0 \\ 0 & K_d \end{pmatrix} S_n \cdots S_1
        \begin{pmatrix} x_{2n} \\ x_{2n+1} \end{pmatrix}, \qquad K_a K_d = \pm 1

    References:
        [Daubechies1998]_; equation :eq:`polyphase` of :doc:`/mathematics`.

    Example:
        >>> scheme("5/3").scales
        (1.4142135623730951, -0.7071067811865475)
    """

    name: str
    """The wavelet's name, that of PyWavelets if it is there."""
    steps: tuple[LiftingStep, ...]
    """The steps :math:`S_i`, from first to last."""
    scales: tuple[float, float]
    """The factors :math:`K_a` and :math:`K_d` of approximation and detail."""


def _reversed_twin(scheme: Scheme) -> Scheme:
    """Returns the transposed inverse, whose analysis filters are the synthesis filters of the scheme, reversed in time.

    The inverse of a step has the opposite taps. Transposing it swaps the halves and reverses the taps.
    """
    steps = (
        LiftingStep(OTHER[target], tuple(-tap for tap in reversed(taps)), 1 - first - len(taps))
        for target, taps, first in scheme.steps
    )
    approx, detail = scheme.scales
    return Scheme(scheme.name.replace("bior", "rbio"), tuple(steps), (1 / approx, 1 / detail))


SCHEMES = {
    name: Scheme(name, tuple(LiftingStep(*step) for step in steps), (scale, sign / scale))
    for name, (scale, sign, *steps) in TABLE.items()
}
SCHEMES |= {twin.name: twin for twin in map(_reversed_twin, SCHEMES.values()) if twin.name.startswith("rbio")}
ALIASES = {"5/3": "bior2.2", "9/7": "bior4.4", "sym2": "db2", "sym3": "db3"}
ALIASES |= dict.fromkeys(("db1", "bior1.1", "rbio1.1"), "haar")


def wavelets(family: str | None = None) -> list[str]:
    r"""Lists the names of all wavelets, or of one family.

    The families are haar, db (Daubechies' wavelets with the shortest filters), sym (nearly symmetric), coif (whose
    approximations have vanishing moments too), bior (biorthogonal) and rbio, their duals. The analysis matrix of a
    dual is the transposed inverse of that of the original,

    .. math:: \tilde P(S) = P(S^{-1})^{-\mathsf T}

    so that analysis and synthesis exchange their filters. :doc:`/conventions` has a table of the wavelets' properties.

    Args:
        family: ``"haar"``, ``"db"``, ``"sym"``, ``"coif"``, ``"bior"`` or ``"rbio"``; `None` for all of them.

    Returns:
        Names that `scheme` knows, without its aliases.

    Raises:
        ValueError: If there is no such family.

    References:
        [Daubechies1992]_ on db, sym and coif; [Cohen1992]_ on bior.

    Example:
        >>> wavelets("coif")
        ['coif1', 'coif2', 'coif3']
        >>> "rbio6.8" in wavelets()
        True
    """
    families = {name: name.rstrip("0123456789.") for name in SCHEMES}
    if family is not None and family not in families.values():
        needed = ", ".join(map(repr, dict.fromkeys(families.values())))
        raise ValueError(f"wavelets needs a family among {needed}, got {family!r}")
    return [name for name, its in families.items() if family in (None, its)]


def scheme(name: str) -> Scheme:
    r"""Returns the scheme of a wavelet: the lifting steps and scales that this library uses for it.

    .. math::

        \begin{pmatrix} a \\ d \end{pmatrix} = \begin{pmatrix} K_a & 0 \\ 0 & K_d \end{pmatrix} S_n \cdots S_1
        \begin{pmatrix} x_{2n} \\ x_{2n+1} \end{pmatrix}

    Args:
        name: A name that `wavelets` lists, or an alias: ``"5/3"`` for ``"bior2.2"``, ``"9/7"`` for ``"bior4.4"``, and
            PyWavelets' ``"db1"``, ``"bior1.1"`` and ``"rbio1.1"`` for ``"haar"``, ``"sym2"`` for ``"db2"`` and
            ``"sym3"`` for ``"db3"``. An object whose attribute ``name`` is one of these, such as a ``pywt.Wavelet``, is
            taken as that name, here and everywhere.

    Returns:
        The `Scheme`, a tuple of Python numbers.

    Raises:
        ValueError: If the name is unknown.

    References:
        [Daubechies1998]_ on factorising into lifting steps, [Vaidyanathan1988]_ into rotations; [Cohen1992]_ on bior;
        equations :eq:`polyphase` and :eq:`rotation` of :doc:`/mathematics`.

    Example:
        >>> scheme("5/3").name, len(scheme("9/7").steps)
        ('bior2.2', 4)
    """
    return require_scheme("scheme", name)


def require_scheme(who: str, name: str) -> Scheme:
    """Returns what `scheme` returns; errors name `who` as the function that was called."""
    name = getattr(name, "name", name)  # of a pywt.Wavelet, for example
    found = SCHEMES.get(ALIASES.get(name, name)) if isinstance(name, str) else None
    if found is None:
        close = get_close_matches(str(name), [*SCHEMES, *ALIASES]) or ["haar", "5/3", "9/7"]
        known = f"that liftlayers.functional.wavelets() lists, such as {', '.join(map(repr, close))}"
        raise ValueError(f"{who} needs a wavelet {known}, got {name!r}")
    return found


def filter_length(scheme: Scheme) -> int:
    """Returns the length of a scheme's filters as PyWavelets counts it: even, and the same for both filters.

    Example:
        >>> filter_length(scheme("9/7"))
        10
    """
    reach = {"approx": (0, 0), "detail": (1, 1)}  # first and last sample that coefficient 0 depends on
    for step in scheme.steps:
        low, high = reach[step.target]
        other_low, other_high = reach[OTHER[step.target]]
        last = step.first + len(step.taps) - 1
        reach[step.target] = min(low, other_low + 2 * step.first), max(high, other_high + 2 * last)
    return 2 * max(max(high, 1 - low) for low, high in reach.values())
