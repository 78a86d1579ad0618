"""What the pictures share: colours that the colour-blind tell apart, new axes, forests of intervals, notes."""


from ..errors import DataError

# Okabe and Ito's eight colours, yellow last: it is faint in print
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#F0E442")
ESTIMATE, REFERENCE, NOTE = "#0072B2", "0.6", "0.35"
NO_ERRORS = "without standard errors: no intervals"


def new_axes(ax=None, figsize=(6.0, 4.0)):
    """Return the axes handed in, or those of a new figure of ``figsize`` inches."""
    if ax is not None:
        return ax
    from matplotlib import pyplot

    return pyplot.subplots(figsize=figsize, layout="constrained")[1]


def clean(ax, grid=None):
    """Take away the top and right frame; ``grid`` is ``"x"``, ``"y"`` or ``"both"`` for faint lines behind the data."""
    ax.spines[["top", "right"]].set_visible(False)
    if grid is not None:
        ax.grid(axis=grid, color="0.9", linewidth=0.6)
        ax.set_axisbelow(True)
    return ax


def note(ax, text):
    """Write a short remark under the title's place, in small grey letters, where no data can be."""
    return ax.annotate(
        text, (1.0, 1.0), xycoords="axes fraction", xytext=(0, 3), textcoords="offset points", ha="right",
        va="bottom", fontsize=8, color=NOTE, style="italic",
    )  # fmt: skip


def level_words(alpha):
    """Confidence level in words, such as ``95%``."""
    return f"{100.0 * (1.0 - alpha):g}%"


def check_level(alpha):
    """Raise DataError unless alpha lies between 0 and 1."""
    if not 0.0 < alpha < 1.0:
        raise DataError(f"alpha lies between 0 and 1, not {alpha!r}.")


def choose(wanted, known, what):
    """Return names as a list, all known ones for None; DataError names those that are unknown."""
    known = list(known)
    if wanted is None:
        return known
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    unknown = [name for name in names if name not in known]
    if unknown:
        shown = ", ".join(map(str, known[:8])) + (", ..." if len(known) > 8 else "")
        raise DataError(f"There is no {what} {unknown[0]!r}; there are {shown}.")
    if not names:
        raise DataError(f"Name at least one {what}.")
    return names
