"""Errors and warnings that users of latentscale may catch."""


class DataError(ValueError):
    """A table, file or parameter vector cannot be used as given.

    The message says what is wrong, which rows and columns are concerned, and what to do.
    """


class IdentificationError(ValueError):
    """The model's parameters are not determined by the law of the data.

    The message names the direction that is not identified, in the user's parameter names.
    """


class ConvergenceWarning(UserWarning):
    """An optimiser stopped before the first- and second-order conditions held."""


class BoundaryWarning(UserWarning):
    """An estimate lies on, or runs towards, the edge of its parameter space."""
