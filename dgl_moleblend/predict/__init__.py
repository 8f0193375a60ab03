"""A saved model over a data set: properties, embeddings, how far off they are, and which atoms they come from.

``dgl_moleblend.predict`` is this room and a function: calling it is calling `dgl_moleblend.predict.front.predict`.
"""

import sys
from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    import pandas as pd


class _CallableModule(ModuleType):
    def __call__(self, model: "Any", molecules: "Any", **how: "Any") -> "pd.DataFrame":
        """Predict properties, see `dgl_moleblend.predict.front.predict`."""
        from dgl_moleblend.predict.front import predict

        return predict(model, molecules, **how)


# importing anything of this folder sets dgl_moleblend.predict to this module, whatever stood there before
sys.modules[__name__].__class__ = _CallableModule
