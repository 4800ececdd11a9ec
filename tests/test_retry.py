"""Pauses between tries double up to a bound, and are drawn between a share of it and all."""

import pytest

from dpipe.retry import pause


@pytest.mark.parametrize(
    ("failures", "bound"), [(1, 0.5), (2, 1), (3, 2), (5, 8), (6, 10), (5000, 10)]
)
@pytest.mark.parametrize("least", [0.0, 0.5, 1.0])
def test_pauses_lie_between_a_share_of_the_bound_and_the_bound(
    failures: int, bound: float, least: float
) -> None:
    drawn = [pause(failures, first=0.5, longest=10, least=least) for _ in range(50)]
    assert all(least * bound <= seconds <= bound for seconds in drawn)
    assert (len(set(drawn)) > 1) == (least < 1)
