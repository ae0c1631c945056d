"""Results as text."""

NETC = "netc"


def judged(result, limits):
    """A row with its ratio, whether its bar is met, and its share of the machine's limit."""
    systems = result["systems"]
    ours = systems.get(NETC)
    peers = {name: figures for name, figures in systems.items() if name != NETC}
    fastest = min(peers, key=lambda name: peers[name]["median_ms"], default=None)
    ratio = ours["median_ms"] / peers[fastest]["median_ms"] if ours and fastest else None
    limit = limits["operations_per_second"]
    share = lambda figures: result["operations"] / (figures["median_ms"] * 1e-3) / limit
    return result | {
        "fastest_peer": fastest,
        "ratio": ratio,
        # What a busy machine disturbs least: each side's fastest call.
        "ratio_of_least": ours["least_ms"] / min(peer["least_ms"] for peer in peers.values()) if ratio else None,
        "met": None if ratio is None else ratio <= result["bar"],
        "share_of_limit": {name: share(figures) for name, figures in systems.items()},
    }


def milliseconds(value):
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def spread(figures):
    low, high = figures["quartiles_ms"]
    return f"{milliseconds(figures['median_ms'])} ({milliseconds(low)}-{milliseconds(high)})"


def verdict(met):
    return {True: "met", False: "not met", None: "-"}[met]


def rows(results):
    """The table of all rows: medians, and the quartiles of calls beside them."""
    head = ["row", "threads", "netc ms", "fastest peer", "ms", "ratio", "of least", "bar", "", "of limit", "peer's"]
    lines = []
    for result in results:
        ours, peer = result["systems"].get(NETC), result["fastest_peer"]
        share = lambda name: f"{result['share_of_limit'][name]:.0%}" if name in result["share_of_limit"] else "-"
        lines.append([
            result["title"],
            str(result["threads"]),
            spread(ours) if ours else "-",
            peer or "-",
            spread(result["systems"][peer]) if peer else "-",
            f"{result['ratio']:.2f}" if result["ratio"] else "-",
            f"{result['ratio_of_least']:.2f}" if result["ratio"] else "-",
            f"{result['bar']:.2f}",
            verdict(result["met"]),
            share(NETC),
            share(peer),
        ])
    return aligned(head, lines)


def all_systems(results):
    """Every system's median beside netc's, in milliseconds."""
    names = list(dict.fromkeys(name for result in results for name in (*result["systems"], *result["missing"])))
    lines = []
    for result in results:
        cell = lambda name: milliseconds(result["systems"][name]["median_ms"]) if name in result["systems"] else "-"
        lines.append([result["title"], str(result["threads"]), *(cell(name) for name in names)])
    return aligned(["row", "threads", *names], lines)


def missing(results):
    """Why a figure is not there."""
    lines = [
        f"{result['title']}, {result['threads']} thread(s), {name}: {reason}"
        for result in results
        for name, reason in result["missing"].items()
    ]
    return "\n".join(dict.fromkeys(lines))


def agreement(results):
    """The largest error of each kind over all rows and peers that agree."""
    worst = {}
    for result in results:
        for name, errors in result["errors"].items():
            for kind, error in errors.items() if name not in result["missing"] else ():
                worst[kind] = max(worst.get(kind, (0.0, "")), (error, f"{result['row']}, {name}"))
    return "; ".join(f"{kind} {error:.1e} ({where})" for kind, (error, where) in sorted(worst.items()))


def aligned(head, lines):
    """Columns of a Markdown table, numbers to the right."""
    table = [head, *lines]
    widths = [max(len(line[at]) for line in table) for at in range(len(head))]
    left = [not any(line[at][:1].isdigit() for line in lines) for at in range(len(head))]

    def show(line):
        cells = (cell.ljust(width) if l else cell.rjust(width) for cell, width, l in zip(line, widths, left))
        return "| " + " | ".join(cells) + " |"

    rule = "|" + "|".join("-" * (width + 1) + ("-" if l else ":") for width, l in zip(widths, left)) + "|"
    return "\n".join([show(head), rule, *map(show, lines)])
