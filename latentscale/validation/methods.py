"""The methods that are compared: those of the Sloth paper, by the names under which it stores errors, and our own.

In the names of the paper ``logF`` is a law for each benchmark in log FLOPs, ``logSlogT`` one in log size, log tokens
and their product, ``factor`` is Sloth, and ``pca`` the laws of principal components after Ruan et al. (2024).
``sigmoid`` is the logistic link and ``trainlink`` a learned one, ``faminter`` means intercepts of families, and d is
the number of skills or components.
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

from ..components.penalty import WEAK_PRECISION_SD
from ..errors import DataError
from ..model import LatentSkillModel
from ..models.latent_skill import TRANSLOG
from ..sloth.model import BenchmarkLaws, SlothModel
from ..tables import some
from .component_laws import FLOPS, ComponentLaws
from .specification import Specification

DIMENSIONS = (1, 2, 3, 4)
LINKS = {"sigmoid": "logistic", "trainlink": "monotone"}
PAPER, PACKAGE = "paper", "package"
DEFAULT: dict[str, Any] = {
    "skills": 6,
    "scaling": f"{TRANSLOG} + instruct",
    "asymptotes": "both",
    "link": "monotone",
    "shrink_effects": 0.3,
    "shrink_slopes": 0.25,
}


def paper_methods(n_train: int = 1, seed: int = 0) -> dict[str, Specification]:
    """Return the 28 methods of the Sloth paper's experiment, by the names under which its authors stored errors.

    Parameters
    ----------
    n_train : int
        Number of LLMs of a test family that are used for training. With two or more, the paper gives the laws of
        components separate slopes for each family.
    seed : int
        Seed of the starts of Sloth.

    Returns
    -------
    dict of str to Specification
    """
    methods = {}
    for label, scaling in (("logF", FLOPS), ("logSlogT", TRANSLOG)):
        for intercepts in (False, True):
            for link, kind in LINKS.items():
                name = f"{label}_{link}{'_faminter' if intercepts else ''}"
                options: dict[str, Any] = {"scaling": scaling, "family_intercepts": intercepts, "link": kind}
                methods[name] = Specification(BenchmarkLaws, fit={"cov_type": "none"}, name=name, **options)
    for intercepts in (False, True):
        for link, kind in LINKS.items():
            for d in DIMENSIONS:
                name = f"factor_{link}{'_faminter' if intercepts else ''}_d={d}"
                options = {"scaling": TRANSLOG, "n_skills": d, "family_intercepts": intercepts, "link": kind}
                fit: dict[str, Any] = {"cov_type": "none", "starts": 1, "seed": seed}
                methods[name] = Specification(SlothModel, fit=fit, name=name, **options)
    terms = "intercepts" if n_train < 2 else "slopes"
    for d in DIMENSIONS:
        name = f"pca_d={d}"
        methods[name] = Specification(ComponentLaws, name=name, n_components=d, scaling=FLOPS, family_terms=terms)
    return methods


def default_specification(seed: int = 0) -> Specification:
    """Return the specification of LatentSkillModel that predicts new LLMs of known families best.

    It has six skills (and so needs at least six benchmarks), shrunk loadings and slopes, learned links, both asymptotes
    estimated, and a scaling formula in which instruction-tuned LLMs differ from others. The table must have the columns
    params_b, tokens_t and instruct. It was chosen among ten candidates by nested leave-family-out
    (``benchmarks/choose_default.py``). Its fits are made for prediction, and have no standard errors.

    Parameters
    ----------
    seed : int
        Seed of random starts, of which there are none unless the options of ``fit`` ask for more than one start.

    Returns
    -------
    Specification

    Examples
    --------
    >>> default_specification().name
    'latent_skill'
    """
    fit = {
        "integration": "laplace", "starts": 1, "seed": seed, "cov_type": "none", "information": False, "tolerance": 0.1,
    }  # fmt: skip
    return Specification(LatentSkillModel, fit=fit, name="latent_skill", **DEFAULT)


def calibrated_specification(seed: int = 0) -> Specification:
    """Return the default specification with additional random effects, which make its prediction intervals calibrated.

    The effects are residual skills of LLMs (``llm_effects``) and slopes on log size that vary between families
    (``random_slopes``). The scores vary in both ways, and without the effects intervals are too narrow
    (``benchmarks/calibration.py``). A penalty keeps their standard deviations away from zero (``avoid_zero_sd``). Fits
    take some three times as long.

    Parameters
    ----------
    seed : int
        As for ``default_specification``.

    Returns
    -------
    Specification

    Examples
    --------
    >>> calibrated_specification().options["llm_effects"]
    True
    """
    plain = default_specification(seed)
    more = {
        "llm_effects": True, "random_slopes": "log(params_b)", "avoid_zero_sd": True, "precision_sd": WEAK_PRECISION_SD,
    }  # fmt: skip
    return Specification(LatentSkillModel, fit=dict(plain.fit_options), name="calibrated", **{**plain.options, **more})


def package_methods(seed: int = 0) -> dict[str, Specification]:
    """Return the package's own specifications, by name.

    Parameters
    ----------
    seed : int
        As for ``default_specification``.

    Returns
    -------
    dict of str to Specification
    """
    return {"latent_skill": default_specification(seed)}


def select_methods(
    wanted: str | Iterable[str] = (PAPER, PACKAGE), n_train: int = 1, seed: int = 0
) -> dict[str, Specification]:
    """Return the methods with given names.

    Parameters
    ----------
    wanted : sequence of str
        Names, patterns such as ``factor_*``, and the words "paper" and "package" for all methods of either kind.
    n_train, seed : int
        As for ``paper_methods``.

    Returns
    -------
    dict of str to Specification

    Raises
    ------
    DataError
        If a name or pattern matches no method.

    Examples
    --------
    >>> list(select_methods(["pca_d=[12]"]))
    ['pca_d=1', 'pca_d=2']
    """
    paper, package = paper_methods(n_train, seed), package_methods(seed)
    methods: dict[str, Specification] = {**paper, **package}
    chosen: list[str] = []
    for pattern in [wanted] if isinstance(wanted, str) else wanted:
        words = {PAPER: list(paper), PACKAGE: list(package)}
        matching = words.get(pattern) or [name for name in methods if fnmatchcase(name, pattern)]
        if not matching:
            raise DataError(f"No method is called {pattern!r}; there are {some(methods, 40)}.")
        chosen += matching
    return {name: methods[name] for name in dict.fromkeys(chosen)}
