"""Named wavelets as lists of lifting steps."""

__all__ = ["SCHEMES", "LiftingStep", "Scheme", "filter_length", "require_scheme", "scheme"]

from liftlayers.functional._named_schemes import SCHEMES
from liftlayers.functional._scheme import LiftingStep, Scheme


def scheme(name: str) -> Scheme:
    r"""Returns the scheme of a wavelet: the lifting steps and scales that this library uses for it.

    .. math::

        \begin{pmatrix} a \\ d \end{pmatrix} = \begin{pmatrix} K_a & 0 \\ 0 & K_d \end{pmatrix} S_n \cdots S_1
        \begin{pmatrix} x_{2n} \\ x_{2n+1} \end{pmatrix}

    Args:
        name: One of the names on :doc:`/conventions`, or an alias: ``"5/3"`` for ``"bior2.2"``, ``"9/7"`` for
            ``"bior4.4"``, and, as in PyWavelets, ``"db1"`` or ``"bior1.1"`` for ``"haar"``.

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
    found = SCHEMES.get(_ALIASES.get(name, name)) if isinstance(name, str) else None
    if found is None:
        raise ValueError(f"{who} needs a wavelet among {', '.join([*SCHEMES, '5/3', '9/7'])}, got {name!r}")
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
        other_low, other_high = reach["detail" if step.target == "approx" else "approx"]
        last = step.first + len(step.taps) - 1
        reach[step.target] = min(low, other_low + 2 * step.first), max(high, other_high + 2 * last)
    return 2 * max(max(high, 1 - low) for low, high in reach.values())


_ALIASES = {"5/3": "bior2.2", "9/7": "bior4.4", "db1": "haar", "bior1.1": "haar"}
