"""The struck bodies in the sample recordings, as tables of partials."""

from examples.synthesis import Partial

BELL: tuple[Partial, ...] = (
    (0.5, 0.55, 4.5),
    (1.0, 0.7, 3.2),
    (1.183, 0.85, 2.6),
    (1.506, 0.35, 1.8),
    (2.0, 1.0, 2.0),
    (2.514, 0.4, 1.1),
    (2.662, 0.35, 1.0),
    (3.011, 0.5, 0.9),
    (4.166, 0.4, 0.6),
    (5.433, 0.3, 0.4),
    (6.796, 0.22, 0.3),
    (8.215, 0.15, 0.2),
)
"""A church bell around its strike note of 1: hum, prime, tierce, quint, nominal and upper partials."""
CLOCKWORK: tuple[Partial, ...] = (
    (2_350, 1.0, 0.006),
    (3_900, 0.8, 0.004),
    (5_600, 0.5, 0.003),
    (1_150, 0.5, 0.010),
)
"""The escapement of a small clock."""
CASE: tuple[Partial, ...] = ((420, 0.3, 0.02), (780, 0.3, 0.015))
"""The tin case of the clock."""
GONG: tuple[Partial, ...] = ((1_060, 0.7, 0.35), (2_449, 1.0, 0.22), (4_208, 0.6, 0.12), (6_254, 0.3, 0.06))
"""One of the two gongs of a telephone."""
SOLE: tuple[Partial, ...] = ((95, 1.0, 0.03), (160, 0.5, 0.02))
"""The sole of a shoe on the ground."""
