"""Retraining of a language model: what every other method is measured against.

By definition exact. It starts from no model, and costs one training on the retain rows.
"""

from unlearn.stages.config.text import LanguageRetrainSettings
from unlearn.stages.unlearn.base.registry import Method, register

register(Method("retrain", "text", LanguageRetrainSettings, None, label="exact"))
