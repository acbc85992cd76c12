"""What the card of the treatment model says in words; figures and counts are filled in by training."""

from __future__ import annotations

from typing import Any

CARD: dict[str, Any] = {
    "name": "HIV trial ACTG 175: four treatments compared",
    "task": "treatment",
    "summary": "Gives the probability that an adult with HIV stays free of AIDS, death and a fall of the CD4 count by "
    "half, under each of the four treatments of a randomised trial, from what was known before treatment: a Cox model "
    "with a smooth basis over covariates and treatment together, refitted on resampled patients for its intervals.",
    "intended_use": [
        "Teaching and research on comparing treatments with trial data.",
        "Showing how far a trial supports choosing a treatment for each patient.",
    ],
    "not_for": [
        "Choosing the treatment of a patient: these treatments of 1991 are no longer given alone or in pairs. Not a "
        "medical device.",
        "Patients unlike those of the trial: CD4 counts outside about 200 to 500 cells/mm³, or AIDS before.",
    ],
    "population": "Adults and adolescents with HIV-1 in the United States, 1991 to 1995, CD4 counts of 200 to 500 "
    "cells/mm³ at screening, no AIDS; 60 % had been treated before.",
    "training_data": {
        "name": "AIDS Clinical Trials Group Study 175",
        "source": "https://archive.ics.uci.edu/dataset/890",
        "licence": "CC BY 4.0",
        "citation": "Hammer et al., A trial comparing nucleoside monotherapy with combination therapy in HIV-infected "
        "adults with CD4 cell counts from 200 to 500 per cubic millimeter, NEJM 335:1081-1090, 1996",
    },
    "split": {
        "method": "By patient, arms and events in proportion: a quarter as a test part, looked at twice, and the rest "
        "for development. Between the looks one covariate was left out and CD8 was taken as its ratio to CD4, by "
        "cross-validation on the development part. Covariates, their scales and the kind of model were chosen by "
        "repeated cross-validation there. The figures marked test are of a model fitted on the development part "
        "alone; the shipped model was then fitted the same way on all patients.",
    },
    "metrics_note": "The test part comes from the same trial as training. Expect less elsewhere.",
    "failure_modes": [
        "Who stays event-free is told only in part by what was known before treatment: about seven of ten pairs of "
        "patients are put in the right order.",
        "Intervals say how much answers change with other patients of the same trial, not what differs today.",
        "Patients lost to observation count as like those who were not, within their arm.",
    ],
    "explanation_notes": [
        "Treatment was assigned by chance, so differences between arms are effects. What a covariate contributes to a "
        "risk is association.",
    ],
    "notes": [
        "The baseline beside the figures is the Kaplan-Meier curve of each arm, the same for all its patients.",
        "Event-free at 2 years, by treatment: the model's mean over all patients under that treatment, beside the "
        "share observed in the patients who got it.",
        "The gain of choosing for each patient is measured by inverse-probability weighting on the trial's own "
        "patients, with choices learned without them.",
    ],
}
