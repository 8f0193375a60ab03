"""What a user runs: pretrain a model, or fine-tune one to measured properties; each leaves a model folder."""

from dgl_moleblend.workflows.finetuning import FinetuneResult, finetune
from dgl_moleblend.workflows.pretraining import pretrain

__all__ = ["FinetuneResult", "finetune", "pretrain"]
