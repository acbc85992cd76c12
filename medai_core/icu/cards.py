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
    },
    "icu_forecast": {
        "name": "Intensive care: the coming hours of vital signs and laboratory values",
        "task": "forecast",
        "summary": "Forecasts the next 1 to 24 hours of 27 vital signs and laboratory values at any hour of an adult's "
        "intensive-care stay, as quantiles, from what was recorded up to that hour: gated recurrent units over the "
        "hourly course with a small network for each variable, and widths calibrated on patients kept for it.",
        "intended_use": [
            "Teaching, research, and demonstration of forecasts that say how sure they are.",
            "A second look at the course of adult intensive-care stays in cohorts like the one it was trained on.",
        ],
        "not_for": [
            "Decisions on treatment, alarms, or their limits. Not a medical device.",
            "Children, or stays outside intensive care.",
            "Judging the effect of a treatment: a forecast that follows a changed value is association, not effect.",
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
            "method": "By patient: the test part of icu_mortality, so that its patients are unseen by both models, "
            "looked at once; of the rest, 12 % for validation. The network's layout, its length of training and the "
            "widths were chosen on validation patients.",
        },
        "metrics_note": "The test part comes from the same hospital and years as training. Expect less elsewhere.",
        "failure_modes": [
            "A sudden turn without any sign of it in the record lies outside the fan.",
            "Forecasts for hours after 48 rest on earlier hours of training stays: their accuracy was not measured.",
            "Laboratory values are forecast as they were when somebody measured them; between such times nobody knows.",
            "A variable that was not measured yet gets the forecast of patients like this one, which is wide.",
            "Treatment that is not in the record moves values in ways the model cannot see.",
        ],
        "explanation_notes": ["A forecast that changes with a changed value shows association, not effect."],
        "notes": [
            "The baseline beside the errors is the last value carried forward. The skills are 1 less the model's error "
            "over that of the last value, of the training mean, of a linear trend through the last 12 hours, and of "
            "gradient-boosted trees on the same inputs.",
            "Errors are mean absolute errors of the median, in the variable's unit, at measured hours only, looked at "
            "from every second hour of the stay.",
        ],
    },
}
