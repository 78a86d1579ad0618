"""What `import latentscale as ls` offers: the public names, and nothing beside them."""

import subprocess
import sys
import types

import latentscale as ls

# Those of the first year's interface: a name that goes, or changes its meaning, stands in CHANGELOG.md with what to
# write instead.
NAMES = {
    "BENCHMARKS", "CHANCE_LEVELS", "Anchored", "BenchmarkLaws", "BenchmarkPanel", "BoundaryWarning", "ComponentLaws",
    "Confirmatory", "ConvergenceWarning", "DataError", "DownstreamModel", "Echelon", "IdentificationError",
    "LatentSkillModel", "RepeatedSamplingModel", "SlothModel", "Specification", "__version__",
    "calibrated_specification", "compare", "compare_coefficients", "compute_optimal", "default_specification",
    "leave_family_out", "load", "load_leaderboard", "load_repeated_sampling", "parallel", "pass_at_k", "read_lm_eval",
    "read_scores", "rotate_loadings", "scaling_elasticities", "select_skills", "simulate_repeated_sampling",
}  # fmt: skip


def test_the_names_of_the_first_year_are_all_there():
    assert set(ls.__all__) >= NAMES
    assert all(hasattr(ls, name) for name in NAMES)


def test_submodules_are_not_listed_beside_the_public_names():
    assert sorted(dir(ls)) == sorted(ls.__all__)
    assert not [name for name in dir(ls) if isinstance(getattr(ls, name), types.ModuleType)]


def test_importing_the_package_alone_loads_none_of_its_rooms_nor_numpy():
    script = "import sys; import latentscale; print([name for name in sys.modules if name.startswith('latentscale.')], "
    done = subprocess.run(
        [sys.executable, "-c", script + "'numpy' in sys.modules)"], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["[]", "False"]
