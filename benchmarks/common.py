"""What the benchmarks share: one thread, and the main job's model."""

import os
import platform
from pathlib import Path

from threadpoolctl import threadpool_limits

import latentscale as ls
from latentscale.models.options import given_options

SKILLS = {"math": "math_lvl_5", "instruction": "ifeval", "commonsense": "hellaswag", "reasoning": "bbh"}

threadpool_limits(1)  # linear algebra on one thread, for as long as the process lives


def leaderboard_model():
    """Four anchored skills on the shipped table."""
    return ls.LatentSkillModel(ls.BenchmarkPanel(ls.load_leaderboard()), skills=ls.Anchored(SKILLS))


def refitted(truth, params, seed):
    """The Laplace fit, from the true parameters, to a table that is simulated from a model."""
    panel = ls.BenchmarkPanel(truth.simulate(params, seed), **truth.panel.options)
    return type(truth)(panel, **given_options(truth)).fit(integration="laplace", starts=0, start_params=params)


def machine():
    """Processor and Python of this machine, in a line."""
    processor = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if "model name" in line]
        processor = names[0] if names else processor
    return f"{processor}, {os.cpu_count()} cores, one thread used, Python {platform.python_version()}"
