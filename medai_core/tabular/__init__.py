"""Clinical tables: models of a shipped or a user's own table, compared honestly and taken apart.

What pages and the command line use, by what the user does:

**Read a table.** ::

    from medai_core.tabular.tables import read_table
    table = read_table(data, "file.csv", separator=None, encoding=None, sheet=None)
    table.frame, table.columns, table.notes         # Column: name kind unit filled missing distinct low high levels
    table = table.with_kind("stage", "category")    # the user knows better

Any bad file raises an ``InputError`` of one sentence; notes are sentences to show.

**Choose what to predict.** ::

    from medai_core.tabular.problem import propose, prepare, task_of, group_candidates, TASKS
    from medai_core.tabular.leaks import inspect
    inspect(table)                                  # findings before a target is chosen
    plan, findings = propose(table, "outcome")      # findings: kind column message exclude
    plan = dataclasses.replace(plan, group="patient", features=…, positive="yes", subgroups=…)
    problem = prepare(table, plan)                  # or an InputError of one sentence; problem.notes

**Train, with progress and a stop.** In a thread of its own::

    from medai_core.tabular.compare import compare
    from medai_core.tabular.models import ORDER, title_of      # families, and their names for people
    study = compare(problem, families, folds=None, repeats=1, seed=0, progress=tell, stop=event.is_set)

``tell`` gets a ``Progress`` (done of family part finished seconds left); ``study.families`` are complete even if
``study.stopped``.

**Keep it, and go on with the model alone.** Everything pages show of a shipped and of a user's model comes from it::

    from medai_core.tabular.results import leaderboard
    from medai_core.tabular.bundles import save_study, to_zip, from_zip
    from medai_core.tabular.cards import card_of
    figures = leaderboard(study)                    # rows metric family value low high n split, best family first
    bundle = save_study(study, folder, card_of(study, table, "My model"), figures=figures)
    to_zip(bundle)                                  # bytes to download; from_zip(data, folder) brings them back
    model = RiskModel(bundle)                       # or load_risk_model("breast_cancer")
    model.bundle.card, model.bundle.metrics         # figures stability subgroups confusion roc reliability

**Curves of a model, from answers to held-out rows.** ::

    from medai_core.tabular import results
    p, y = model.held(family, label)
    results.roc(p, y), results.precision_recall(p, y), results.reliability(p, y), results.decision_curve(p, y)
    results.at_threshold(p, y, 0.3)                 # counts, sensitivity, specificity, ppv, npv with intervals

**Answer for patients.** ::

    model.predict(rows, family, unlikeness=True)    # Prediction: probabilities label value prediction_set interval
                                                    #   refer unlikeness extrapolated cautions
    model.score(frame)                              # new rows with the answers beside them
    model.encoder.features                          # Feature: name kind unit levels low high plausible_* usual text()

**Explain.** One schema, :class:`~medai_core.tabular.explain.Explanation`, for every family::

    model.estimate(len(rows), family)               # seconds, before it starts
    told = model.explain(rows, family, label, probability=False)
    told.link, told.exact, told.method, told.additivity_error, told.sampling_error, told.base_value
    told.values, told.x, told.predictions, told.waterfall(row), told.sentences(row), told.to_frame()
    explain.LINKS[told.link], explain.METHODS[told.method]     # names for people
    from medai_core.tabular import importance
    importance.bars(told), importance.colours(told), importance.dependence(told, feature, by)
    importance.cohorts(told, first, second), importance.agreement(model.explain_all(row))
    model.bundle.metrics["stability"][family]       # ranks over models trained on other parts
    from medai_core.tabular.faithful import faithfulness
    faithfulness(model, told, row)                  # deletion and insertion against random orders

**What if.** ::

    from medai_core.tabular.counterfactual import Goal, counterfactuals, ice
    model.predict({**row, "age": 60})
    counterfactuals(model, row, family, goal=Goal("benign"), locked=["age"], ranges={"bmi": (18, 40)})
    ice(model, rows, "age", family)                 # grid rows others mean now trained

``breast_cancer.sample_table()`` is the table of the shipped model, for its patients and as an example of an own table.
"""

from medai_core.tabular.risk_model import Prediction, RiskModel, load_risk_model

__all__ = ["Prediction", "RiskModel", "load_risk_model"]
