"""Does a series of measurements grow?  Without a verdict about a single step: a pool that once served its largest request
keeps what it took, and is done with it."""
from __future__ import annotations

import statistics


def slope(points: list[tuple[float, float]]) -> float:
    """Of the line through (x, y), by Theil and Sen: the median of the slopes of all pairs. Three of ten points may be
    anything without moving it."""
    slopes = [(y2 - y1) / (x2 - x1) for i, (x1, y1) in enumerate(points) for x2, y2 in points[i + 1:] if x2 != x1]
    return statistics.median(slopes) if slopes else 0.0


def judge(points: list[tuple[float, float]], allowed: float, fewest: int = 5) -> dict:
    """points: (x, KiB). rise: what the line gains from the first x to the last. grows: None where there are too few points
    to say."""
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    if len(points) < fewest:
        return {"points": len(points), "grows": None}
    rise = slope(points) * (max(xs) - min(xs))
    return {"points": len(points), "median": statistics.median(ys), "least": min(ys), "most": max(ys), "rise": round(rise, 1),
            "allowed": round(allowed, 1), "grows": rise > allowed}
