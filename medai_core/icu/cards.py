"""What the card of the wing's model says in words; figures and counts are filled in by training."""

from __future__ import annotations

from typing import Any

CARDS: dict[str, dict[str, Any]] = {
    "icu_mortality": {
        "name": "Intensive care: risk of death in hospital, hour by hour",
        "task": "risk",
        "summary": "Gives the risk of death in hospital at each of the first 48 hours of an adult's "
        "intensive-care stay, "
        "from what was recorded up to that hour: gated recurrent units over the hourly course, blended with "
        "gradient-boosted trees on its summary.",
        "intended_use": [
            "Teaching, research, and demonstration of calibrated risk over time.",
            "A second look at the course of adult intensive-care stays in cohorts like the one it was trained on.",
        ],
        "not_for": [
            "Decisions on treatment, admission, or its withdrawal. Not a medical device.",
            "Children, stays outside intensive care, or times after hour 48.",
            "Judging the effect of a treatment: a risk that follows a changed value is association, not effect.",
        ],
        "population": "Adults in four kinds of intensive care of one hospital (Beth Israel Deaconess Medical "
        "Center, Boston, "
        "2001 to 2008), with stays of at least 48 hours; 14 % died in hospital.",
        "training_data": {
            "name": "PhysioNet/Computing in Cardiology Challenge 2012, set A",
            "source": "https://physionet.org/content/challenge-2012/1.0.0/",
            "licence": "ODC-By 1.0",
            "citation": "Silva et al., Predicting In-Hospital Mortality of ICU Patients: The PhysioNet/Computing "
            "in Cardiology "
            "Challenge 2012, Computing in Cardiology 39:245-248, 2012",
        },
        "split": {
            "method": "By patient, deaths in proportion: a test part, looked at four times, and folds of the rest. "
            "Between the looks the features, trees and network (before the second), the number of sets of trees and "
            "the calibration of low risks (before the third and the fourth) were changed by cross-validation on the "
            "rest. Blend, calibration and thresholds come from answers on held-out folds.",
        },
        "metrics_note": "The test part comes from the same hospital and years as training. Expect less elsewhere.",
        "failure_modes": [
            "Short stays: every training patient stayed at least 48 hours, so the risk in the first hours is "
            "that of such patients.",
            "Early hours and sparsely recorded stays: the risk stays near the average.",
            "What is measured, and how often, reflects the staff's concern and carries part of the answer.",
            "Limits to care that are not in the record change outcomes in ways the model cannot see.",
        ],
        "explanation_notes": ["Contributions show what moved this model's answer. Association is not cause."],
        "notes": [
            "Each score alone (SAPS-I, SOFA) was turned into a probability by a logistic regression on the "
            "development stays.",
            "Event 1 is the smaller of sensitivity and positive predictive value at a threshold chosen on "
            "held-out folds.",
            "Event 2 is the challenge's range-normalised Hosmer-Lemeshow H. It grows with chance alone: a perfectly "
            "calibrated risk as spread out as this one has 16 with a standard deviation of 7, whatever the number of "
            "stays, and more in resamples, so its interval lies above its value.",
        ],
    }
}
