"""latentscale: classical statistics of scaling laws of language models.

A public name is imported when it is first asked for, so that ``import latentscale`` takes no time. ``__init__.pyi``
beside this file says where each name lives.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
