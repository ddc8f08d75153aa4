"""Training on from another model: other types, a new head, a bias for new data, and a report of where each number came from."""

from dpjax.finetune.branches import RANDOM, Start, chosen_start, task_starts
from dpjax.finetune.remap import remapped
from dpjax.finetune.report import Row
from dpjax.finetune.sections import with_pretrained_model, with_pretrained_models, with_pretrained_sel
from dpjax.finetune.tuning import Pretrained, report_name, require_networks, tuned
from dpjax.finetune.types import TypeChange

__all__ = [
    "RANDOM",
    "Pretrained",
    "Row",
    "Start",
    "TypeChange",
    "chosen_start",
    "remapped",
    "report_name",
    "require_networks",
    "task_starts",
    "tuned",
    "with_pretrained_model",
    "with_pretrained_models",
    "with_pretrained_sel",
]
