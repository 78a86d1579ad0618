"""Statistical models: they assemble components and define an objective."""

from latentscale.models.latent_skill import LatentSkillModel

__all__ = ["LatentSkillModel"]
