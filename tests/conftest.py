"""What all tests share: pictures are drawn without a screen."""

import matplotlib as mpl

# Not by the environment variable, which kernels and command lines started by the tests would inherit.
mpl.use("agg")
