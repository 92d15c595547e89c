"""Named wavelets as lists of lifting steps."""

__all__ = ["SCHEMES", "LiftingStep", "Scheme", "filter_length", "scheme"]

from typing import Literal, NamedTuple


class LiftingStep(NamedTuple):
    r"""One step: adds to every sample of one half a weighted sum of samples of the other.

    .. math:: t_n \leftarrow t_n + \sum_j c_j \, o_{n + f + j}

    Attributes:
        target: The half :math:`t` that changes; :math:`o` is the other one. ``"detail"`` are the odd samples.
        taps: The weights :math:`c_j`.
        first: The offset :math:`f` of the first of them.

    Example:
        >>> LiftingStep("detail", (-0.5, -0.5), 0)  # takes the mean of both neighbours away from every odd sample
        LiftingStep(target='detail', taps=(-0.5, -0.5), first=0)
    """

    target: Literal["approx", "detail"]
    taps: tuple[float, ...]
    first: int


class Scheme(NamedTuple):
    """A wavelet transform of a line: split into even and odd samples, the steps in order, then the scales.

    Attributes:
        name: PyWavelets' name.
        steps: From first to last.
        scales: What approximation and detail are multiplied by in the end. Their product is 1 or -1.

    Example:
        >>> scheme("5/3").scales
        (1.4142135623730951, -0.7071067811865475)
    """

    name: str
    steps: tuple[LiftingStep, ...]
    scales: tuple[float, float]


def scheme(name: str) -> Scheme:
    """The scheme of a wavelet.

    Args:
        name: One of those on :doc:`/conventions`, or ``"5/3"`` for ``"bior2.2"``, ``"9/7"`` for ``"bior4.4"``.

    Raises:
        ValueError: If there is none of that name.

    References:
        [Daubechies1998]_ on factorising into lifting steps; [Cohen1992]_ on the bior family.

    Example:
        >>> scheme("5/3").name, len(scheme("9/7").steps)
        ('bior2.2', 4)
    """
    found = SCHEMES.get(_ALIASES.get(name, name))
    if found is None:
        raise ValueError(f"scheme needs one of {', '.join([*SCHEMES, *_ALIASES])}, got {name!r}")
    return found


def filter_length(scheme: Scheme) -> int:
    """The length of the filters that a scheme amounts to, as PyWavelets counts it: even, both centred alike.

    Example:
        >>> filter_length(scheme("9/7"))
        10
    """
    reach = {"approx": (0, 0), "detail": (1, 1)}  # of a coefficient at sample 0, in samples
    for step in scheme.steps:
        low, high = reach[step.target]
        other_low, other_high = reach["detail" if step.target == "approx" else "approx"]
        last = step.first + len(step.taps) - 1
        reach[step.target] = min(low, other_low + 2 * step.first), max(high, other_high + 2 * last)
    return 2 * max(max(high, 1 - low) for low, high in reach.values())


_ALIASES = {"5/3": "bior2.2", "9/7": "bior4.4"}

# Derived by docs/derivations/lifting_schemes.py, which also says how well conditioned each one is. Haar, 5/3 and 9/7
# are the well-known steps of [Daubechies1998]_, section 7.
SCHEMES = {
    "haar": Scheme(
        "haar",
        (
            LiftingStep("detail", (-1.0,), 0),
            LiftingStep("approx", (0.5,), 0),
        ),
        (1.4142135623730951, -0.7071067811865475),
    ),
    "db2": Scheme(
        "db2",
        (
            LiftingStep("detail", (-0.5773502691896257,), 1),
            LiftingStep("approx", (0.43301270189221935, 0.20096189432334202), -1),
            LiftingStep("detail", (-0.3333333333333333,), 0),
        ),
        (1.1153550716504106, 0.8965754721680534),
    ),
    "db3": Scheme(
        "db3",
        (
            LiftingStep("approx", (-0.41228659505180554,), 0),
            LiftingStep("detail", (0.35238765767485547, -1.565136279630835), 0),
            LiftingStep("approx", (0.4921518448877389, 0.028459089579716882), -1),
            LiftingStep("detail", (-0.3896203899719369,), 0),
        ),
        (1.9182029462395351, -0.5213212720585224),
    ),
    "db4": Scheme(
        "db4",
        (
            LiftingStep("detail", (-0.3222758880002811,), 1),
            LiftingStep("approx", (0.29195312600347534, -1.117123605116217), -1),
            LiftingStep("detail", (0.540028283419714, -1.6889170665560491), 0),
            LiftingStep("approx", (0.5547946968043375, 0.0066173380106253525), -1),
            LiftingStep("detail", (-0.3190921926138622,), 0),
        ),
        (2.6337752658977234, 0.3796831160760216),
    ),
    "db5": Scheme(
        "db5",
        (
            LiftingStep("approx", (-0.2651451428115883,), 0),
            LiftingStep("detail", (0.2477292913603297, 0.9940591343240417), 0),
            LiftingStep("approx", (-1.1817065508928928, -0.5341246460373478), -2),
            LiftingStep("detail", (0.04056019434206249, 0.7168557193161886), 1),
            LiftingStep("approx", (-0.4297061770841794, 0.06722181024200802), -1),
            LiftingStep("detail", (-0.006454850569986442,), 0),
        ),
        (-0.5566047090150994, 1.7966071501074425),
    ),
    "coif1": Scheme(
        "coif1",
        (
            LiftingStep("approx", (0.21525043702153018,), 0),
            LiftingStep("detail", (-0.2057189138830738, -0.36122779563076696), 0),
            LiftingStep("approx", (0.3460420308512752, 0.1970706341141656), -1),
            LiftingStep("detail", (-0.22469652221889938,), 0),
        ),
        (1.0217064953743347, -0.9787546663620047),
    ),
    "bior1.3": Scheme(
        "bior1.3",
        (
            LiftingStep("detail", (-1.0,), 0),
            LiftingStep("approx", (0.0625, 0.5, -0.0625), -1),
        ),
        (1.4142135623730951, -0.7071067811865475),
    ),
    "bior1.5": Scheme(
        "bior1.5",
        (
            LiftingStep("detail", (-1.0,), 0),
            LiftingStep("approx", (-0.01171875, 0.0859375, 0.5, -0.0859375, 0.01171875), -2),
        ),
        (1.4142135623730951, -0.7071067811865475),
    ),
    "bior2.2": Scheme(
        "bior2.2",
        (
            LiftingStep("detail", (-0.5, -0.5), 0),
            LiftingStep("approx", (0.25, 0.25), -1),
        ),
        (1.4142135623730951, -0.7071067811865475),
    ),
    "bior2.4": Scheme(
        "bior2.4",
        (
            LiftingStep("detail", (-0.5, -0.5), 0),
            LiftingStep("approx", (-0.046875, 0.296875, 0.296875, -0.046875), -2),
        ),
        (1.4142135623730951, -0.7071067811865475),
    ),
    "bior2.6": Scheme(
        "bior2.6",
        (
            LiftingStep("detail", (-0.5, -0.5), 0),
            LiftingStep("approx", (0.009765625, -0.076171875, 0.31640625, 0.31640625, -0.076171875, 0.009765625), -3),
        ),
        (1.4142135623730951, -0.7071067811865475),
    ),
    "bior3.1": Scheme(
        "bior3.1",
        (
            LiftingStep("detail", (-0.3333333333333333,), 1),
            LiftingStep("approx", (-0.375, 1.125), -1),
            LiftingStep("detail", (-0.4444444444444444,), 0),
        ),
        (0.9428090415820634, 1.0606601717798212),
    ),
    "bior3.3": Scheme(
        "bior3.3",
        (
            LiftingStep("approx", (-0.3333333333333333,), -1),
            LiftingStep("detail", (-1.125, -0.375), 0),
            LiftingStep("approx", (0.08333333333333333, 0.4444444444444444, -0.08333333333333333), -1),
        ),
        (2.1213203435596424, 0.47140452079103173),
    ),
    "bior3.5": Scheme(
        "bior3.5",
        (
            LiftingStep("approx", (-0.3333333333333333,), -1),
            LiftingStep("detail", (-1.125, -0.375), 0),
            LiftingStep(
                "approx",
                (
                    -0.017361111111111112,
                    0.11805555555555555,
                    0.4444444444444444,
                    -0.11805555555555555,
                    0.017361111111111112,
                ),
                -2,
            ),
        ),
        (2.1213203435596424, 0.47140452079103173),
    ),
    "bior4.2": Scheme(
        "bior4.2",
        (
            LiftingStep("approx", (-0.25, -0.25), -1),
            LiftingStep("detail", (-1.0, -1.0), 0),
            LiftingStep("approx", (0.1875, 0.1875), -1),
        ),
        (2.8284271247461903, -0.35355339059327373),
    ),
    "bior4.4": Scheme(
        "bior4.4",
        (
            LiftingStep("detail", (-1.5861343420599245, -1.5861343420599245), 0),
            LiftingStep("approx", (-0.05298011857296136, -0.05298011857296136), -1),
            LiftingStep("detail", (0.8829110755309341, 0.8829110755309341), 0),
            LiftingStep("approx", (0.443506852043971, 0.443506852043971), -1),
        ),
        (1.149604398860241, -0.8698644516247814),
    ),
}
