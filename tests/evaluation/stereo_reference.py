"""The stereo metrics written again, pixel by pixel and without leadline, to judge leadline's by."""

import math


def reference_metrics(predicted, truth, valid, occluded=None, foreground=None, focal_baseline=None, doffs=0.0):
    """Metrics of one image (lists of rows) or of many images end to end, by plain loops; keys as in leadline."""
    height, width = len(truth), len(truth[0])
    rows = {"all": [], "noc": [], "occ": [], "fg": [], "bg": [], "edges": [], "flat": []}
    for y in range(height):
        for x in range(width):
            if not valid[y][x]:
                continue
            pixel = (float(predicted[y][x]), float(truth[y][x]))
            rows["all"].append(pixel)
            if occluded is not None:
                rows["occ" if occluded[y][x] else "noc"].append(pixel)
            if foreground is not None:
                rows["fg" if foreground[y][x] else "bg"].append(pixel)
            rows["edges" if _near_edge(truth, valid, y, x) else "flat"].append(pixel)

    everything = rows["all"]
    answered = [(p, t) for p, t in everything if math.isfinite(p)]
    sizes = sorted(abs(p - t) for p, t in answered)
    result = {
        "epe": math.fsum(sizes) / len(sizes),
        "rmse": math.sqrt(math.fsum(e * e for e in sizes) / len(sizes)),
        "density": 100 * len(answered) / len(everything),
        **{f"a{q}": sizes[math.ceil(q * len(sizes) / 100) - 1] for q in (50, 90, 95, 99)},
    }
    for threshold in (0.5, 1, 2, 3, 4):
        result[f"bad_{threshold:g}"] = 100 * sum(not abs(p - t) <= threshold for p, t in everything) / len(everything)
    for region, suffix in (("all", ""), ("noc", "_noc"), ("occ", "_occ"), ("fg", "_fg"), ("bg", "_bg")):
        result[f"d1{suffix}"] = _d1(rows[region])
    for region in ("noc", "edges", "flat"):
        result[f"epe_{region}"] = _epe(rows[region])
    result["d1_edges"], result["d1_flat"] = _d1(rows["edges"]), _d1(rows["flat"])
    fine = [p - t for p, t in answered if abs(p - t) < 1]
    result["subpixel_bias"] = math.fsum(fine) / len(fine) if fine else None
    if focal_baseline is not None:
        result |= _depth(answered, focal_baseline, doffs)
    return result


def _near_edge(truth, valid, y, x):
    height, width = len(truth), len(truth[0])
    for v in range(max(0, y - 3), min(height, y + 4)):
        for u in range(max(0, x - 3), min(width, x + 4)):
            for dv, du in ((0, 1), (0, -1), (1, 0), (-1, 0)):
                n, m = v + dv, u + du
                inside = 0 <= n < height and 0 <= m < width
                if inside and valid[v][u] and valid[n][m] and abs(float(truth[v][u]) - float(truth[n][m])) > 1:
                    return True
    return False


def _d1(pixels):
    if not pixels:
        return None
    good = sum(abs(p - t) <= 3 or abs(p - t) <= 0.05 * t for p, t in pixels)
    return 100 * (len(pixels) - good) / len(pixels)


def _epe(pixels):
    errors = [abs(p - t) for p, t in pixels if math.isfinite(p)]
    return math.fsum(errors) / len(errors) if errors else None


def _depth(answered, focal_baseline, doffs):
    bands = {(0, 2): [], (2, 5): [], (5, 10): [], (10, 20): [], (20, 40): [], (40, 80): []}
    for p, t in answered:
        if t + doffs <= 0:
            continue
        true_depth = focal_baseline / (t + doffs)
        depth = min(80.0, focal_baseline / (p + doffs)) if p + doffs > 0 else 80.0
        for (low, high), found in bands.items():
            if low < true_depth <= high:
                found.append((abs(depth - true_depth), true_depth))
    result = {}
    groups = {f"_{low}-{high}": found for (low, high), found in bands.items()}
    groups[""] = [pair for found in bands.values() for pair in found]
    for suffix, found in groups.items():
        result[f"depth_mm{suffix}"] = 1000 * sum(e for e, _ in found) / len(found) if found else None
        result[f"depth_rel{suffix}"] = 100 * sum(e / z for e, z in found) / len(found) if found else None
    return result
