"""Benchmarks that the package knows by name, and their guessing levels."""

BENCHMARKS = (
    "mmlu",
    "arc",
    "hellaswag",
    "winogrande",
    "truthfulqa",
    "gsm8k",
    "ifeval",
    "bbh",
    "math_lvl_5",
    "gpqa",
    "musr",
    "mmlu_pro",
)
"""The twelve benchmarks of the Open LLM Leaderboard, versions 1 and 2, in the table's order."""

CHANCE_LEVELS = {
    "mmlu": 0.25,
    "arc": 0.25,
    "hellaswag": 0.25,
    "winogrande": 0.5,
    "truthfulqa": 0.31,
    "gsm8k": 0.0,
    "ifeval": 0.0,
    "bbh": 0.288504,
    "math_lvl_5": 0.0,
    "gpqa": 0.25,
    "musr": 0.343298,
    "mmlu_pro": 0.1,
    "humaneval": 0.0,
}
"""Expected score of random guessing on each benchmark, as a fraction; for BBH and MUSR a mean over their subtasks."""
