"""The named wavelets, literally."""

__all__ = ["SCHEMES"]

from liftlayers.functional._scheme import LiftingStep, Scheme

# Derived by docs/derivations/lifting_schemes.py, which also says how well conditioned each one is. Haar, 5/3 and 9/7
# are the well-known steps of [Daubechies1998]_, section 7; db4 to db8 and coif2 are plane rotations.
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
            LiftingStep("detail", (0.7283723633123881,), 1),
            LiftingStep("approx", (-0.951793332117205,), -1),
            LiftingStep("detail", (0.7283723633123881, 0.47655055653720957), 1),
            LiftingStep("approx", (-0.7767099476886807,), -2),
            LiftingStep("detail", (0.12753810770545346, 0.47655055653720957), 1),
            LiftingStep("approx", (-0.2509935619340977,), -1),
            LiftingStep("detail", (-0.022987894335651682, 0.12753810770545346), 0),
            LiftingStep("approx", (0.04595150590652606,), 0),
            LiftingStep("detail", (-0.022987894335651682,), 0),
        ),
        (-1.0, -1.0),
    ),
    "db5": Scheme(
        "db5",
        (
            LiftingStep("detail", (0.13032101622130565,), 0),
            LiftingStep("approx", (-0.2562893254436247,), 0),
            LiftingStep("detail", (0.13032101622130565, 0.4324747144659353), 0),
            LiftingStep("approx", (-0.7286641772867809,), -1),
            LiftingStep("detail", (0.4324747144659353, 0.6616696477743482), 1),
            LiftingStep("approx", (-0.9203874725141453,), -2),
            LiftingStep("detail", (0.06629955774171123, 0.6616696477743482), 1),
            LiftingStep("approx", (-0.1320188094648584,), -1),
            LiftingStep("detail", (-0.010416344167014601, 0.06629955774171123), 0),
            LiftingStep("approx", (0.020830428227862848,), 0),
            LiftingStep("detail", (-0.010416344167014601,), 0),
        ),
        (-1.0, 1.0),
    ),
    "db6": Scheme(
        "db6",
        (
            LiftingStep("detail", (-0.11135495921240474,), 1),
            LiftingStep("approx", (0.2199821557649571,), -1),
            LiftingStep("detail", (0.33840109491867887, -0.11135495921240474), 0),
            LiftingStep("approx", (-0.6072614608381722,), 0),
            LiftingStep("detail", (0.33840109491867887, 0.2728597992498507), 0),
            LiftingStep("approx", (-0.5079048294020843,), -1),
            LiftingStep("detail", (0.2728597992498507, 0.7860899136252646), 1),
            LiftingStep("approx", (-0.9717186051810325,), -2),
            LiftingStep("detail", (0.034957169058259914, 0.7860899136252646), 1),
            LiftingStep("approx", (-0.06982900681402066,), -1),
            LiftingStep("detail", (-0.004829069317577574, 0.034957169058259914), 0),
            LiftingStep("approx", (0.009657913413478979,), 0),
            LiftingStep("detail", (-0.004829069317577574,), 0),
        ),
        (-1.0, -1.0),
    ),
    "db7": Scheme(
        "db7",
        (
            LiftingStep("detail", (0.09723622377030308,), 0),
            LiftingStep("approx", (-0.19265095525775036,), 0),
            LiftingStep("detail", (0.09723622377030308, 0.5442335153355771), 0),
            LiftingStep("approx", (-0.8397433482448978,), -1),
            LiftingStep("detail", (0.5442335153355771, -0.3333925058519167), 1),
            LiftingStep("approx", (0.6000852035107188,), -2),
            LiftingStep("detail", (-0.3333925058519167, -0.7017066851004554), 2),
            LiftingStep("approx", (0.940378341949196,), -3),
            LiftingStep("detail", (-0.07071545015820052, -0.7017066851004554), 2),
            LiftingStep("approx", (0.14072716949342295,), -2),
            LiftingStep("detail", (0.018510241844085725, -0.07071545015820052), 1),
            LiftingStep("approx", (-0.03700780373941792,), -1),
            LiftingStep("detail", (-0.0022716932697516346, 0.018510241844085725), 0),
            LiftingStep("approx", (0.004543363093067708,), 0),
            LiftingStep("detail", (-0.0022716932697516346,), 0),
        ),
        (1.0, -1.0),
    ),
    "db8": Scheme(
        "db8",
        (
            LiftingStep("detail", (-0.08631406521669435,), 1),
            LiftingStep("approx", (0.17135154125652335,), -1),
            LiftingStep("detail", (0.2616398094404568, -0.08631406521669435), 0),
            LiftingStep("approx", (-0.48975336156777316,), 0),
            LiftingStep("detail", (0.2616398094404568, 0.3856648755462451), 0),
            LiftingStep("approx", (-0.6714587281861129,), -1),
            LiftingStep("detail", (0.3856648755462451, -0.22843409870768075), 1),
            LiftingStep("approx", (0.43421018201426564,), -2),
            LiftingStep("detail", (-0.22843409870768075, -0.7974438794002424), 2),
            LiftingStep("approx", (0.9749198837756637,), -3),
            LiftingStep("detail", (-0.041574583497512835, -0.7974438794002424), 2),
            LiftingStep("approx", (0.08300569613215057,), -2),
            LiftingStep("detail", (0.009801849230125427, -0.041574583497512835), 1),
            LiftingStep("approx", (-0.019601815191386807,), -1),
            LiftingStep("detail", (-0.0010794342456241072, 0.009801849230125427), 0),
            LiftingStep("approx", (0.0021588659757844474,), 0),
            LiftingStep("detail", (-0.0010794342456241072,), 0),
        ),
        (1.0, 1.0),
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
    "coif2": Scheme(
        "coif2",
        (
            LiftingStep("detail", (-0.680053521017721,), 1),
            LiftingStep("approx", (0.9300050229913931,), -1),
            LiftingStep("detail", (-0.680053521017721, 0.584822955656511), 1),
            LiftingStep("approx", (-0.8715576152127208,), -2),
            LiftingStep("detail", (0.584822955656511, -0.05807591459993619), 2),
            LiftingStep("approx", (0.11576138781849947,), -3),
            LiftingStep("detail", (-0.33658142446812245, -0.05807591459993619), 2),
            LiftingStep("approx", (0.604662423526218,), -2),
            LiftingStep("detail", (0.08015253466098693, -0.33658142446812245), 1),
            LiftingStep("approx", (-0.15928177489800016,), -1),
            LiftingStep("detail", (-0.02197433104958853, 0.08015253466098693), 0),
            LiftingStep("approx", (0.043927450797196115,), 0),
            LiftingStep("detail", (-0.02197433104958853,), 0),
        ),
        (1.0, 1.0),
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
