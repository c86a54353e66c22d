"""MAPIE's risk control, set up so that it answers the questions that congener's thresholds answer.

Importing this module loads scikit-learn and MAPIE, which takes seconds.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from mapie.risk_control import (
    BinaryClassificationController,
    MultiLabelClassificationController,
    false_positive_rate,
    recall,
)

from schemas.cards import Level
from schemas.scores import SCORE_STEP

SIZES = (64, 128, 256, 512)
"""Numbers of texts that are powers of two.

With others, MAPIE counts one exceedance too many now and then, because it rounds n * (k / n) up.
"""


def try_thresholds(
    scores: np.ndarray, thresholds: np.ndarray, level: Level, risk: Literal["fpr", "misses"]
) -> BinaryClassificationController:
    """Return MAPIE's controller after it tested every threshold on one kind of texts.

    It tests the safest threshold first and stops at the first one that it can't accept (fixed
    sequence testing). `risk` says whether the texts are clean or show the trait.
    """
    allowed = level.max_false_positive_rate
    controller = BinaryClassificationController(
        lambda given: np.column_stack([1 - given[:, 0], given[:, 0]]),
        false_positive_rate if risk == "fpr" else recall,
        allowed if risk == "fpr" else 1 - allowed,
        level.confidence,
        "predicted_positive_fraction",
        thresholds,
        "fixed_sequence",
    )
    truth = np.full(len(scores), int(risk == "misses"))
    return controller.calibrate(scores[:, None], truth)


def control_expected_recall(scores: np.ndarray, rate: float) -> float:
    """Return MAPIE's highest threshold whose expected share of misses is below a rate."""
    thresholds = np.unique(scores) - SCORE_STEP / 2  # MAPIE selects scores above a threshold
    controller = MultiLabelClassificationController(
        lambda given: given, "recall", "crc", 1 - rate, predict_params=thresholds
    )
    controller.calibrate(scores[:, None], np.ones((len(scores), 1), int))
    return float(controller.best_predict_param[0]) + SCORE_STEP / 2
