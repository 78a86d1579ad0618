"""The marginal log-likelihood by each integration rule, its score and Hessian, and posterior modes of effects."""
