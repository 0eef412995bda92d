"""A line plot as SVG text: a few lines over a logarithmic x axis, named where they end."""

import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 760, 330
LEFT, RIGHT, TOP, BOTTOM = 56, 190, 40, 52
COLOURS = ("#1f6feb", "#bc4c00", "#1a7f37", "#8250df")
INK, FAINT = "#24292f", "#d0d7de"


def text(x, y, words, anchor="start", size=12, colour=INK, more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}"{more}>{escape(words)}</text>'


def line(x1, y1, x2, y2, colour, width=1.0):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}"/>'


def apart(places, least):
    """Heights of labels, moved so that none covers another."""
    moved = {}
    last = -math.inf
    for name, y in sorted(places.items(), key=lambda item: item[1]):
        last = moved[name] = max(y, last + least)
    return moved


def render(title, x_label, lines, y_range, reference):
    """`lines`: name to [(x, y)]; `reference`: (y, its name), a line to compare with."""
    xs = sorted({x for points in lines.values() for x, _ in points})
    low, high = math.log(xs[0]), math.log(xs[-1])
    bottom, top = y_range

    def at(x, y):
        across = (math.log(x) - low) / (high - low) if high > low else 0.5
        up = (y - bottom) / (top - bottom)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
             f'font-family="system-ui, sans-serif" role="img">', f"<title>{escape(title)}</title>",
             f'<rect width="{WIDTH}" height="{HEIGHT}" rx="6" fill="#ffffff"/>',
             text(LEFT, 24, title, size=14, more=' font-weight="600"')]
    steps = round((top - bottom) / 0.1)
    for y in (bottom + 0.1 * step for step in range(steps + 1)):
        height = at(xs[0], y)[1]
        parts += [line(LEFT, height, WIDTH - RIGHT, height, FAINT), text(LEFT - 8, height + 4, f"{y:.1f}", "end")]
    parts += [text(at(x, bottom)[0], HEIGHT - BOTTOM + 18, f"{x:,}", "middle", 11) for x in xs]
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, x_label, "middle"))
    height = at(xs[0], reference[0])[1]
    parts.append(line(LEFT, height, WIDTH - RIGHT, height, INK, 1.5))
    labels = apart({reference[1]: height, **{name: at(*points[-1])[1] for name, points in lines.items()}}, 16)
    parts.append(text(WIDTH - RIGHT + 10, labels[reference[1]] + 4, reference[1]))
    for colour, (name, points) in zip(COLOURS, lines.items()):
        places = [at(x, y) for x, y in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
        parts.append(text(WIDTH - RIGHT + 10, labels[name] + 4, name, colour=colour))
    return "\n".join([*parts, "</svg>"]) + "\n"
