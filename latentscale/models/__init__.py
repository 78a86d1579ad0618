"""Statistical models: they assemble components and define an objective."""

from latentscale.models.latent_skill import LatentSkillModel
from latentscale.models.sloth import BenchmarkLaws, SlothModel

__all__ = ["BenchmarkLaws", "LatentSkillModel", "SlothModel"]
