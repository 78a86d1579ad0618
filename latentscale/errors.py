"""Errors and warnings of latentscale, for users to catch or to filter."""


class DataError(ValueError):
    """A table, file, option or parameter vector cannot be used as it was given.

    The message says what is wrong, which rows and columns are concerned, and what to do.
    """


class IdentificationError(ValueError):
    """The law of the data does not determine the parameters of the model.

    The message names the parameters along which the law does not change.
    """


class ConvergenceWarning(UserWarning):
    """An optimiser stopped before the first- and second-order conditions of a minimum held."""


class BoundaryWarning(UserWarning):
    """An estimate lies on the boundary of its parameter space, or tends towards it."""
