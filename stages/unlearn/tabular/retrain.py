"""Retraining: what every other method is measured against.

By definition exact. It starts from no model, and costs one training on the retain rows.
"""

from unlearn.stages.config.methods import RetrainSettings
from unlearn.stages.unlearn.base.registry import Method, register

register(Method("retrain", "tabular", RetrainSettings, None, label="exact"))
