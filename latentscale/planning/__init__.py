"""Planning of training runs and evaluations: compute-optimal allocation, elasticities, the next evaluation."""
