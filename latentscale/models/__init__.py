"""Models as laws of scores, without how they are fitted; which LLMs enter them, their options and resampled copies."""
