"""Profile likelihood: curves and intervals that do not assume a quadratic log-likelihood."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from rich.console import Console
from rich.progress import Progress
from scipy import stats
from scipy.interpolate import PchipInterpolator

from ..checks import check_alpha, check_number, check_whole
from ..errors import BoundaryWarning, ConvergenceWarning, DataError
from ..plots.profile import plot_profile
from ..workers import run
from .profile_ends import TOLERANCE, End, fill, find_end
from .profile_path import ROUNDING, HigherPoint, Path, Peak, Point, Target, read_target

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..results.latent_skill import LatentSkillResults

_SIDES = ("lower", "upper")
_OPEN = tuple(f"{side}_{state}" for side in _SIDES for state in ("boundary", "flat", "edge"))


class Interval(NamedTuple):
    """An interval.

    Attributes
    ----------
    lower, upper : float
    """

    lower: float
    upper: float


@dataclass(frozen=True, eq=False)
class Profile:
    """Profile likelihood of a parameter or of a linear combination of parameters.

    Attributes
    ----------
    label : str
        What is profiled, in parameter names.
    estimate : float
    interval : Interval
        Where the signed root reaches the normal quantiles. An end that does not exist is the end of the
        parameter space, or infinite, and ``flags`` say so; NaN where the fit was not at its optimum.
    wald_interval : Interval
        From the observed information, on the scale where the normal approximation is good; NaN without one.
    alpha : float
        One minus the confidence level.
    table : DataFrame
        A row per restricted maximum: value t, loglike (penalised, which is what is profiled), root, wald_root (the
        root of the quadratic approximation), converged, evaluations (passes over the data).
    params : DataFrame
        The restricted estimates, a row per row of ``table``, indexed by t.
    flags : tuple of str
        What users must know, as words: ``lower_boundary``, ``upper_flat``, ``not_monotone`` and so on; empty if there
        is nothing.
    notes : tuple of str
        The same as sentences.
    better : dict or None
        Parameters with a higher log-likelihood, if the profile found any: ``model.fit(start_params=...)``.
    gain : float
        By how much it is higher.
    wald_se : float
        Standard error from the observed information; NaN without one.
    """

    label: str
    estimate: float
    interval: Interval
    wald_interval: Interval
    alpha: float
    table: pd.DataFrame
    params: pd.DataFrame
    flags: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    better: dict[str, float] | None = field(default=None, repr=False)
    gain: float = 0.0
    wald_se: float = np.nan
    _target: Target | None = field(default=None, repr=False)

    def curve(self, size: int = 201) -> pd.DataFrame:
        """Return the profile between its points, by monotone interpolation.

        Parameters
        ----------
        size : int
            Number of values.

        Returns
        -------
        DataFrame
            Columns value, root, wald_root; the deviances are their squares.

        Raises
        ------
        DataError
            If the fit was not at its optimum.
        """
        if self.better is not None:
            raise DataError(f"There is no curve: {self.notes[0]}")
        t, target = self.table["value"].to_numpy(), self._target
        assert target is not None
        grid = np.linspace(target.forward(t[0]), target.forward(t[-1]), size)
        value = target.back(grid)
        root = PchipInterpolator(target.forward(t), self.table["root"])(grid)
        centre = t[np.flatnonzero(self.table["evaluations"] == 0)[0]]
        return pd.DataFrame({"value": value, "root": root, "wald_root": target.wald_root(value, centre, self.wald_se)})

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Plot the deviance of the profile and its quadratic approximation; see ``plots.profile.plot_profile``."""
        return plot_profile(self, ax)

    def __str__(self) -> str:
        level = f"{100.0 * (1.0 - self.alpha):g}%"
        rows = [
            (f"{level} interval, profile", *self.interval),
            (f"{level} interval, Wald", *self.wald_interval),
        ]
        lines = [f"Profile likelihood of {self.label}", f"{'estimate':<26}{self.estimate:12.5g}"]
        lines += [f"{name:<26}{lower:12.5g}{upper:12.5g}" for name, lower, upper in rows]
        shown = self.table.drop(columns="converged").to_string(index=False, float_format="{:.5g}".format)
        return "\n".join([*lines, "", shown, *(f"Note: {note}" for note in self.notes)])


def profile(
    fit: "LatentSkillResults", parameter: str | npt.ArrayLike, alpha: float = 0.05, points: int = 8, span: float = 1.25
) -> Profile:
    """Return the profile likelihood of a parameter or a linear combination of parameters.

    At every t the penalised log-likelihood (the plain one, unless asymptotes are estimated) is maximised over all
    parameters with a'xi = t, by the fit's own integration rule. The interval contains all t whose signed root sign(t -
    t_hat) sqrt(2 (l_hat - l(t))) is smaller in size than the normal quantile. The standard deviation of a random slope
    and an anchor's loading cannot be negative: if the root at zero is smaller than the quantile, zero is the lower end.

    Parameters
    ----------
    fit : LatentSkillResults
    parameter : str or array (P,)
        A parameter's name, a linear combination such as
        ``"slope[log(params_b),math] - slope[log(tokens_t),math]"``, or weights.
    alpha : float
        One minus the confidence level, in (0, 1).
    points : int
        Points of the curve besides those that the ends of the interval needed; 0 for the interval alone.
    span : float
        How far the curve extends, in units of the normal quantile; from 1 to below 10.

    Returns
    -------
    Profile

    Raises
    ------
    DataError
        If the parameter cannot be read, or is fixed by the fit's restrictions.

    Warns
    -----
    ConvergenceWarning
        If the fit was not at its optimum; ``Profile.better`` then has better parameters, and the interval is NaN.
    """
    _check(alpha, points, span)
    target, peak = read_target(parameter, fit.model), Peak.of(fit)
    if peak.fixes(target):
        raise DataError(f"{target.label} is fixed by the restrictions of this fit, so there is nothing to profile.")
    result = profiled(peak, target, fit.params, alpha, points, span)
    if result.better is not None:
        warnings.warn(result.notes[0], ConvergenceWarning, stacklevel=3)
    return result


def profile_intervals(
    fit: "LatentSkillResults",
    parameters: str | Sequence[str | npt.ArrayLike] | None = None,
    alpha: float = 0.05,
    n_jobs: int | None = None,
    progress: bool = False,
) -> pd.DataFrame:
    """Return profile-likelihood intervals of several parameters.

    Parameters
    ----------
    fit : LatentSkillResults
    parameters : str, or list of str or arrays (P,), optional
        As ``profile`` takes them; all parameters by default.
    alpha : float
        One minus the confidence level, in (0, 1).
    n_jobs : int, optional
        Parameters profiled in parallel; the numbers do not depend on it. By default one, or what a surrounding
        ``ls.parallel`` says.
    progress : bool
        Show a bar on the standard error stream.

    Returns
    -------
    DataFrame
        Columns lower and upper. ``.attrs["notes"]`` maps parameters to what users must know of their intervals.
        ``.attrs["better"]`` has better parameters if the fit was not at its optimum, else None. A parameter that
        the fit's restrictions fix has its value at both ends.

    Warns
    -----
    ConvergenceWarning
        If the fit was not at its optimum, or an end was not reached reliably.
    BoundaryWarning
        If an interval ends at the boundary of the parameter space or does not end.
    """
    _check(alpha, 0, 1.0)
    wanted = fit.model.param_names if parameters is None else parameters
    wanted = [wanted] if isinstance(wanted, str) else list(wanted)
    targets, peak = [read_target(parameter, fit.model) for parameter in wanted], Peak.of(fit)
    free = [target for target in targets if not peak.fixes(target)]
    shared = (peak, fit.params, alpha)
    profiles: dict[str, Profile] = {}
    with Progress(console=Console(stderr=True), disable=not progress) as bar:
        task = bar.add_task("Profiles", total=len(free))
        done = run(_interval, ((target,) for target in free), shared, n_jobs)
        for target, with_interval in zip(free, done, strict=True):
            profiles[target.label] = with_interval
            bar.update(task, advance=1, description=target.label)
    rows = {}
    for target in targets:
        fixed = float(target.weights @ fit.params)
        rows[target.label] = profiles[target.label].interval if target.label in profiles else (fixed, fixed)
    out = pd.DataFrame.from_dict(rows, orient="index", columns=list(_SIDES), dtype=float)
    out.attrs["notes"] = {label: list(each.notes) for label, each in profiles.items() if each.notes}
    out.attrs["better"] = _warn(list(profiles.values()))
    return out


def _interval(peak: Peak, params: pd.Series, alpha: float, target: Target) -> Profile:
    """Return the Profile of a target with its interval alone."""
    return profiled(peak, target, params, alpha, 0, 1.0)


def _check(alpha: float, points: int, span: float) -> None:
    """Refuse options that make no sense."""
    check_alpha(alpha)
    check_whole("points", points, 0)
    check_number("span", span, "at least 1 and below 10, in units of the normal quantile", 1.0, 10.0, below=True)


def profiled(peak: Peak, target: Target, params: pd.Series, alpha: float, points: int, span: float) -> Profile:
    """Return the Profile of a target about a peak; ``params`` is the fit's estimate, Series (P,)."""
    path, z = Path(peak, target), float(stats.norm.isf(0.5 * alpha))
    ends: tuple[End, ...] = ()
    higher: Point | None = None
    if peak.reached:
        try:
            ends = tuple(find_end(path, sign, z) for sign in (-1, 1))
            if points:
                fill(path, ends, z, points, span)
        except HigherPoint as error:
            higher = error.point
            path.points.append(higher)
            path.points.sort(key=lambda point: point.psi)
    better, gain = _better(peak, higher)
    flags = _flags(path, ends, z) if better is None else {"higher": _higher_note(peak, target, gain)}
    interval = Interval(np.nan, np.nan)
    if better is None:
        interval = Interval(*(_value(target, sign, end) for sign, end in zip((-1, 1), ends, strict=True)))
    estimate = float(target.weights @ params)
    return Profile(
        target.label, estimate, interval, _wald(path, params, alpha), alpha, _table(path), _params(path),
        tuple(flags), tuple(flags.values()), better, gain, path.wald_se, target,
    )  # fmt: skip


def _value(target: Target, sign: int, end: End) -> float:
    """Return the t of an end, which is the end of the parameter space if the profile reached that."""
    if end.state in ("boundary", "flat"):
        return float(target.space[sign > 0])
    return float(target.back(end.psi))


def _wald(path: Path, params: pd.Series, alpha: float) -> Interval:
    """Return the Wald interval about the estimate."""
    estimate, z = float(path.target.weights @ params), stats.norm.isf(0.5 * alpha)
    return Interval(*(path.target.wald_end(side * z, estimate, path.wald_se) for side in (-1, 1)))


def _table(path: Path) -> pd.DataFrame:
    """Return the points of a path as a table."""
    above = [point.value > path.peak.value + ROUNDING for point in path.points]
    return pd.DataFrame(
        {
            "value": [point.t for point in path.points],
            "loglike": [point.value for point in path.points],
            "root": [np.nan if high else point.root for point, high in zip(path.points, above, strict=True)],
            "wald_root": [path.target.wald_root(point.t, path.centre.t, path.wald_se) for point in path.points],
            "converged": [point.converged for point in path.points],
            "evaluations": [point.evaluations for point in path.points],
        }
    )


def _params(path: Path) -> pd.DataFrame:
    """Return the restricted estimates of a path, as a fit reports them."""
    rows = [path.peak.reported(point.u) for point in path.points]
    index = pd.Index([point.t for point in path.points], name=path.target.label)
    return pd.DataFrame(rows, index=index, columns=path.peak.model.param_names)


# --- what to know of a profile -------------------------------------------------------------------------------------


def _flags(path: Path, ends: Sequence[End], z: float) -> dict[str, str]:
    """Return what users must know of a profile, as words and sentences; ``z`` is the normal quantile."""
    label, flags = path.target.label, {}
    for sign, side, end in zip((-1, 1), _SIDES, ends, strict=True):
        if end.state != "root":
            flags[f"{side}_{end.state}"] = _end_note(path, sign, side, end)
    if not all(end.converged for end in ends) or not all(point.converged for point in path.points):
        flags["not_converged"] = (
            f"Some restricted maxima of {label} were not reached within a hundredth of a standard error (see "
            "table): the interval may be too narrow."
        )
    if any(point.mirrored for point in path.points):
        flags["mirrored"] = (
            f"The profile of {label} runs into the mirror image of a skill whose anchor's loading vanishes: the "
            "interval holds values of skills with the opposite sign."
        )
    if path.switched:
        flags["branch"] = f"The profile of {label} has several local maxima; the best that was found was kept."
    roots = np.array([point.root for point in path.points])
    if np.any(np.diff(roots) < -TOLERANCE):
        flags["not_monotone"] = (
            f"The profile of {label} has a second hump: the interval is the stretch about the estimate where the "
            "deviance is within its limit."
        )
        apart = [point.t for point in path.points if _outside(point, ends) and abs(point.root) < z - TOLERANCE]
        if apart:
            flags["disjoint"] = (
                f"The deviance is within its limit at {label} = {', '.join(f'{t:.4g}' for t in apart)} too, outside "
                "the interval."
            )
    return flags


def _outside(point: Point, ends: Sequence[End]) -> bool:
    """Return whether a point is outside the interval."""
    return not ends[0].psi <= point.psi <= ends[1].psi


def _end_note(path: Path, sign: int, side: str, end: End) -> str:
    """Return a sentence on an end that was not found."""
    label, value = path.target.label, _value(path.target, sign, end)
    last = path.points[-1 if sign > 0 else 0]
    at = f"{path.target.back(end.psi):.5g}"
    return {
        "boundary": f"The {side} end of {label} is the boundary of the parameter space, {value:g}: the deviance at "
        f"{at} is {last.root**2:.3g}, within its limit.",
        "flat": f"There is no {side} end of {label}: at {at} the deviance is {last.root**2:.3g}, within its limit "
        "still.",
        "edge": f"The {side} end of {label} was not found: {at} is how far restricted maxima could be computed, or "
        "parameters satisfy the restriction at all; the deviance there is within its limit.",
        "jump": f"The {side} end of {label} lies between two local maxima: the deviance jumps over its limit at {at}.",
    }[end.state]


def _better(peak: Peak, higher: Point | None) -> tuple[dict[str, float] | None, float]:
    """Return parameters with a higher log-likelihood than the fit's, None if there are none, and the difference."""
    if higher is None and peak.reached:
        return None, 0.0
    params, value = (peak.reported(peak.u), peak.value) if higher is None else peak.climbed(higher.u)
    return dict(zip(peak.model.param_names, map(float, params), strict=True)), value - peak.fitted


def _higher_note(peak: Peak, target: Target, gain: float) -> str:
    """Return a sentence on a log-likelihood above the fit's."""
    source = f"The profile of {target.label}" if peak.reached else "Climbing on from the estimate"
    return (
        f"{source} found a log-likelihood {gain:.4g} above the fit's, which therefore was not at its best optimum: "
        "fit again from the parameters in .better (fit(start_params=...))."
    )


def _warn(profiles: Sequence[Profile]) -> dict[str, float] | None:
    """Warn of what a table of intervals does not show; return the best of the better parameters, or None."""
    better = [profile for profile in profiles if profile.better is not None]
    loose = [
        profile.label for profile in profiles if {"not_converged", "lower_jump", "upper_jump"} & set(profile.flags)
    ]
    if better:
        best = max(better, key=lambda profile: profile.gain)
        names = ", ".join(profile.label for profile in better)
        warnings.warn(
            f"Profiles of {names} found log-likelihoods up to {best.gain:.4g} above the fit's, which therefore was not "
            "at its best optimum, so that no interval here is to be used: fit again from the parameters in "
            '.attrs["better"] (fit(start_params=...)).',
            ConvergenceWarning,
            stacklevel=4,
        )
    if loose:
        warnings.warn(
            f'Restricted maxima were not reached reliably for {", ".join(loose)}; see .attrs["notes"].',
            ConvergenceWarning,
            stacklevel=4,
        )
    open_ended = [profile.label for profile in profiles if any(flag in profile.flags for flag in _OPEN)]
    if open_ended:
        warnings.warn(
            f"Profile intervals end at the boundary of the parameter space, or do not end, for "
            f'{", ".join(open_ended)}; see .attrs["notes"].',
            BoundaryWarning,
            stacklevel=4,
        )
    return best.better if better else None
