"""Choice of models by prediction of families that were left out."""
