"""The methods that are compared: those of the Sloth paper by its stored names, and the package's own.

``logF`` is a law per benchmark in log FLOPs, ``logSlogT`` one in log size, log tokens and their product, ``factor``
Sloth, ``pca`` the laws of principal components after Ruan et al. (2024); ``sigmoid`` the logistic link, ``trainlink`` a
learned one; ``faminter`` intercepts of families; d skills or components.
"""

from fnmatch import fnmatchcase

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
DEFAULT = {
    "skills": 6,
    "scaling": f"{TRANSLOG} + instruct",
    "asymptotes": "both",
    "link": "monotone",
    "shrink_effects": 0.3,
    "shrink_slopes": 0.25,
}


def paper_methods(n_train=1, seed=0):
    """The 28 methods of the Sloth paper's experiment, by the names under which its authors stored errors.

    Parameters
    ----------
    n_train : int
        LLMs of a test family that train. With two or more the paper gives families slopes of their own on components.
    seed : int
        Of the starts of Sloth.

    Returns
    -------
    dict of str to Specification
    """
    methods = {}
    for label, scaling in (("logF", FLOPS), ("logSlogT", TRANSLOG)):
        for intercepts in (False, True):
            for link, kind in LINKS.items():
                name = f"{label}_{link}{'_faminter' if intercepts else ''}"
                options = {"scaling": scaling, "family_intercepts": intercepts, "link": kind}
                methods[name] = Specification(BenchmarkLaws, fit={"cov_type": "none"}, name=name, **options)
    for intercepts in (False, True):
        for link, kind in LINKS.items():
            for d in DIMENSIONS:
                name = f"factor_{link}{'_faminter' if intercepts else ''}_d={d}"
                options = {"scaling": TRANSLOG, "n_skills": d, "family_intercepts": intercepts, "link": kind}
                fit = {"cov_type": "none", "starts": 1, "seed": seed}
                methods[name] = Specification(SlothModel, fit=fit, name=name, **options)
    terms = "intercepts" if n_train < 2 else "slopes"
    for d in DIMENSIONS:
        name = f"pca_d={d}"
        methods[name] = Specification(ComponentLaws, name=name, n_components=d, scaling=FLOPS, family_terms=terms)
    return methods


def default_specification(seed=0):
    """The specification of LatentSkillModel that predicts new LLMs of known families best.

    Six skills (it takes six benchmarks), loadings and slopes shrunk, learned links, both asymptotes, and a
    scaling that lets instruction-tuned LLMs differ: it needs the columns params_b, tokens_t and instruct. It was chosen
    among ten candidates by nested leave-family-out (``benchmarks/choose_default.py``); its fits predict, and have no
    standard errors.

    Parameters
    ----------
    seed : int
        Of random starts, of which there are none unless ``fit`` options ask for more than one start.

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


def calibrated_specification(seed=0):
    """The default specification with what makes its prediction intervals calibrated: LLM residuals and family slopes.

    Residual skills of LLMs (``llm_effects``) and slopes on log size that vary between families (``random_slopes``)
    are what families' scores disagree in with a law of shared slopes and independent noise; without them intervals are
    too narrow (``benchmarks/calibration.py``). Their standard deviations are kept off zero (``avoid_zero_sd``). Fits
    take some three times as long.

    Parameters
    ----------
    seed : int

    Returns
    -------
    Specification

    Examples
    --------
    >>> calibrated_specification().options["llm_effects"]
    True
    """
    plain = default_specification(seed)
    more = {"llm_effects": True, "random_slopes": "log(params_b)", "avoid_zero_sd": True}
    return Specification(
        LatentSkillModel, fit=dict(plain.fit_options), name="calibrated", **{**plain.options, **more}
    )


def package_methods(seed=0):
    """The package's own specifications, by name.

    Returns
    -------
    dict of str to Specification
    """
    return {"latent_skill": default_specification(seed)}


def select_methods(wanted=(PAPER, PACKAGE), n_train=1, seed=0):
    """Methods by names, patterns such as ``factor_*`` and the words "paper" and "package".

    Raises
    ------
    DataError
        If one of them fits no method.

    Examples
    --------
    >>> list(select_methods(["pca_d=[12]"]))
    ['pca_d=1', 'pca_d=2']
    """
    paper, package = paper_methods(n_train, seed), package_methods(seed)
    methods, chosen = {**paper, **package}, []
    for pattern in [wanted] if isinstance(wanted, str) else wanted:
        words = {PAPER: list(paper), PACKAGE: list(package)}
        found = words.get(pattern) or [name for name in methods if fnmatchcase(name, pattern)]
        if not found:
            raise DataError(f"No method is called {pattern!r}; there are {some(methods, 40)}.")
        chosen += found
    return {name: methods[name] for name in dict.fromkeys(chosen)}
