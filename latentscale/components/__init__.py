"""What a model is made of: cells, response and link, scaling of skills, family effects, identification."""
