"""Named wavelets as lists of lifting steps."""

from itertools import pairwise
from typing import Literal, NamedTuple


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
    """The wavelet's name in PyWavelets."""
    steps: tuple[LiftingStep, ...]
    """The steps :math:`S_i`, from first to last."""
    scales: tuple[float, float]
    """The factors :math:`K_a` and :math:`K_d` of approximation and detail."""


def P(first: int, *taps: float) -> LiftingStep:
    """Returns a step that predicts the detail, with taps from the offset `first` on."""
    return LiftingStep("detail", taps, first)


def U(first: int, *taps: float) -> LiftingStep:
    """Returns a step that updates the approximation, with taps from the offset `first` on."""
    return LiftingStep("approx", taps, first)


def rotations(*turns: tuple[int, float, float]) -> list[LiftingStep]:
    """Returns the steps of plane rotations: three shears each, of the detail, the approximation and the detail again.

    Each turn by an angle A is given as an offset and the weights tan(A/2), of the outer shears, and -sin(A). The last
    shear of a turn and the first of the next, at an adjacent offset, are one step.
    """
    first, last = turns[0], turns[-1]
    steps = [P(first[0], first[1])]
    for (offset, weight, sine), (next_offset, next_weight, _) in pairwise(turns):
        taps = (weight, next_weight) if offset < next_offset else (next_weight, weight)
        steps += [U(-offset, sine), P(min(offset, next_offset), *taps)]
    return [*steps, U(-last[0], last[2]), P(last[0], last[1])]


# Derived by docs/derivations/lifting_schemes.py, which also prints how well conditioned each scheme is. Haar, 5/3 and
# 9/7 are the well-known steps of [Daubechies1998]_, section 7; db4 to db8 and coif2 are plane rotations.
# fmt: off
SCALES_AND_STEPS: dict[str, tuple[tuple[float, float], *tuple[LiftingStep, ...]]] = {
    "haar": ((1.4142135623730951, -0.7071067811865475), P(0, -1.0), U(0, 0.5)),
    "db2": ((1.1153550716504106, 0.8965754721680534), P(1, -0.5773502691896257),
        U(-1, 0.43301270189221935, 0.20096189432334202), P(0, -0.3333333333333333)),
    "db3": ((1.9182029462395351, -0.5213212720585224), U(0, -0.41228659505180554),
        P(0, 0.35238765767485547, -1.565136279630835), U(-1, 0.4921518448877389, 0.028459089579716882),
        P(0, -0.3896203899719369)),
    "db4": ((-1.0, -1.0), *rotations(
        (1, 0.7283723633123881, -0.951793332117205), (2, 0.47655055653720957, -0.7767099476886807),
        (1, 0.12753810770545346, -0.2509935619340977), (0, -0.022987894335651682, 0.04595150590652606))),
    "db5": ((-1.0, 1.0), *rotations(
        (0, 0.13032101622130565, -0.2562893254436247), (1, 0.4324747144659353, -0.7286641772867809),
        (2, 0.6616696477743482, -0.9203874725141453), (1, 0.06629955774171123, -0.1320188094648584),
        (0, -0.010416344167014601, 0.020830428227862848))),
    "db6": ((-1.0, -1.0), *rotations(
        (1, -0.11135495921240474, 0.2199821557649571), (0, 0.33840109491867887, -0.6072614608381722),
        (1, 0.2728597992498507, -0.5079048294020843), (2, 0.7860899136252646, -0.9717186051810325),
        (1, 0.034957169058259914, -0.06982900681402066), (0, -0.004829069317577574, 0.009657913413478979))),
    "db7": ((1.0, -1.0), *rotations(
        (0, 0.09723622377030308, -0.19265095525775036), (1, 0.5442335153355771, -0.8397433482448978),
        (2, -0.3333925058519167, 0.6000852035107188), (3, -0.7017066851004554, 0.940378341949196),
        (2, -0.07071545015820052, 0.14072716949342295), (1, 0.018510241844085725, -0.03700780373941792),
        (0, -0.0022716932697516346, 0.004543363093067708))),
    "db8": ((1.0, 1.0), *rotations(
        (1, -0.08631406521669435, 0.17135154125652335), (0, 0.2616398094404568, -0.48975336156777316),
        (1, 0.3856648755462451, -0.6714587281861129), (2, -0.22843409870768075, 0.43421018201426564),
        (3, -0.7974438794002424, 0.9749198837756637), (2, -0.041574583497512835, 0.08300569613215057),
        (1, 0.009801849230125427, -0.019601815191386807), (0, -0.0010794342456241072, 0.0021588659757844474))),
    "coif1": ((1.0217064953743347, -0.9787546663620047), U(0, 0.21525043702153018),
        P(0, -0.2057189138830738, -0.36122779563076696), U(-1, 0.3460420308512752, 0.1970706341141656),
        P(0, -0.22469652221889938)),
    "coif2": ((1.0, 1.0), *rotations(
        (1, -0.680053521017721, 0.9300050229913931), (2, 0.584822955656511, -0.8715576152127208),
        (3, -0.05807591459993619, 0.11576138781849947), (2, -0.33658142446812245, 0.604662423526218),
        (1, 0.08015253466098693, -0.15928177489800016), (0, -0.02197433104958853, 0.043927450797196115))),
    "bior1.3": ((1.4142135623730951, -0.7071067811865475), P(0, -1.0), U(-1, 0.0625, 0.5, -0.0625)),
    "bior1.5": ((1.4142135623730951, -0.7071067811865475), P(0, -1.0),
        U(-2, -0.01171875, 0.0859375, 0.5, -0.0859375, 0.01171875)),
    "bior2.2": ((1.4142135623730951, -0.7071067811865475), P(0, -0.5, -0.5), U(-1, 0.25, 0.25)),
    "bior2.4": ((1.4142135623730951, -0.7071067811865475), P(0, -0.5, -0.5),
        U(-2, -0.046875, 0.296875, 0.296875, -0.046875)),
    "bior2.6": ((1.4142135623730951, -0.7071067811865475), P(0, -0.5, -0.5),
        U(-3, 0.009765625, -0.076171875, 0.31640625, 0.31640625, -0.076171875, 0.009765625)),
    "bior3.1": ((0.9428090415820634, 1.0606601717798212), P(1, -0.3333333333333333), U(-1, -0.375, 1.125),
        P(0, -0.4444444444444444)),
    "bior3.3": ((2.1213203435596424, 0.47140452079103173), U(-1, -0.3333333333333333), P(0, -1.125, -0.375),
        U(-1, 0.08333333333333333, 0.4444444444444444, -0.08333333333333333)),
    "bior3.5": ((2.1213203435596424, 0.47140452079103173), U(-1, -0.3333333333333333), P(0, -1.125, -0.375),
        U(-2, -5 / 288, 17 / 144, 4 / 9, -17 / 144, 5 / 288)),
    "bior4.2": ((2.8284271247461903, -0.35355339059327373), U(-1, -0.25, -0.25), P(0, -1.0, -1.0),
        U(-1, 0.1875, 0.1875)),
    "bior4.4": ((1.149604398860241, -0.8698644516247814), P(0, -1.5861343420599245, -1.5861343420599245),
        U(-1, -0.05298011857296136, -0.05298011857296136), P(0, 0.8829110755309341, 0.8829110755309341),
        U(-1, 0.443506852043971, 0.443506852043971)),
}
# fmt: on

SCHEMES = {name: Scheme(name, tuple(steps), scales) for name, (scales, *steps) in SCALES_AND_STEPS.items()}
ALIASES = {"5/3": "bior2.2", "9/7": "bior4.4", "db1": "haar", "bior1.1": "haar"}


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
    found = SCHEMES.get(ALIASES.get(name, name)) if isinstance(name, str) else None
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
