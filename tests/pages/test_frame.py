"""What every page has: the frame, the notice, both languages; home and models in particular."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from streamlit.testing.v1 import AppTest

from medai_core.errors import ArtifactError
from medai_core.imaging import gate, intake, reader
from pages.ui import language, words
from pages.ui.words import interval, percent, plain

ROOT = Path(__file__).parents[2]
PAGES = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "pages").glob("*/*.py") if path.parent.name != "ui")
Said = Callable[[AppTest], str]


@pytest.mark.parametrize("page", PAGES)
def test_every_page_carries_the_notice(app: AppTest, said: Said, page: str) -> None:
    app.switch_page(page).run()
    assert not app.exception
    assert "Every result needs a qualified reader" in said(app)


@pytest.mark.parametrize("page", PAGES)
def test_every_page_speaks_chinese(app: AppTest, said: Said, page: str) -> None:
    app.switch_page(page).run()
    app.sidebar.button_group(key="language_switch").set_value("zh_CN").run()
    assert not app.exception
    assert "非医疗器械" in said(app)
    assert app.query_params["lang"] in ("zh", ["zh"])


def test_language_of_the_address(app: AppTest, said: Said) -> None:
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=30)
    at.query_params["lang"] = "zh"
    assert "胸部X线片" in said(at.run())


def test_a_reading_in_chinese(app: AppTest, files: dict[str, bytes], said: Said) -> None:
    app.switch_page("pages/imaging/read_scan.py").run()
    app.file_uploader[0].upload("scan.png", files["unsure"]).run()
    app.sidebar.button_group(key="language_switch").set_value("zh_CN").run()
    text = said(app)
    assert "细菌性肺炎、病毒性肺炎" in text and "请阅片医师复核" in text and "拉伸至 224×224" in text


def test_home_shows_models_and_device(app: AppTest, said: Said) -> None:
    text = said(app)
    assert "Ready on CPU (2 cores)" in text
    assert "What it does not" in text
    assert "✓ verified abababababab" in text


def test_home_says_when_a_model_is_not_trusted(app: AppTest, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    from pages.ui import loaders

    error = ArtifactError("The model {model} has no pinned digest, so it cannot be trusted", model="x")
    monkeypatch.setattr(loaders, "bundle", lambda model: error)
    app.run()
    assert not app.exception
    assert "⚠ The model x has no pinned digest, so it cannot be trusted" in said(app)


def test_models_page_shows_the_card(app: AppTest, said: Said) -> None:
    app.switch_page("pages/models/models.py").run()
    text = said(app)
    for sentence in ("Intended use", "Adults.", "Over-calls pneumonia", "CC BY 4.0", "patient-grouped", "ab" * 32):
        assert sentence in text, sentence
    table = app.dataframe[0].value
    assert table.iloc[0].tolist() == ["AUC, pneumonia", "0.981 (0.972–0.989)", "0.950 (0.930–0.960)", 620]


def test_a_gate_has_one_row_for_each_kind_of_wrong_input(
    app: AppTest, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pages.ui import loaders

    def figures(shift: float) -> list[dict[str, object]]:
        ends = {"low": 0.9 - shift, "high": 1.0, "n": 300, "split": "test"}
        names = ("right images refused", "AUROC against noise", "noise refused", "AUROC against rotated")
        return [{"metric": f"chest_xray: {name}", "value": 0.95 - shift} | ends for name in names]

    gate = SimpleNamespace(**vars(loaders.bundle("scan_gate")))
    gate.metrics = {"figures": figures(0.0), "baseline": figures(0.1)}
    monkeypatch.setattr(loaders, "bundle", lambda model: gate)
    app.switch_page("pages/models/models.py").run()
    assert not app.exception
    table = app.dataframe[0].value
    assert table["Kind of wrong input"].tolist() == ["Noise", "Rotated image"]
    assert table.iloc[0].tolist()[1:] == [
        "0.950 (0.900–1.000)", "95.0% (90.0%–100.0%)", "0.850 (0.800–1.000)", "85.0% (80.0%–100.0%)", 300,
    ]  # fmt: skip
    assert "Right images refused" in said(app)


def test_figures_are_shown_part_by_part(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    from pages.ui import loaders

    def row(part: str, value: float) -> dict[str, object]:
        return {"metric": "AUC, pneumonia", "value": value, "low": value, "high": value, "n": 9, "split": part}

    found = SimpleNamespace(**vars(loaders.bundle("chest_xray")))
    parts = ("test", "held-out sessions", "held-out session 1", "held-out session 2", "test, other devices imitated")
    found.metrics = {
        "figures": [row(part, 0.9) for part in parts],
        "baseline": [row("test", 0.8), row("held-out session 1", 0.7)],
    }
    monkeypatch.setattr(loaders, "bundle", lambda model: found)
    app.switch_page("pages/models/models.py").run()
    assert len(app.dataframe[0].value) == 1
    app.button_group(key="figures_part").set_value("held-out sessions").run()
    assert app.dataframe[0].value.columns[2] == "Baseline (95% interval) · held-out session 1"
    app.button_group(key="figures_part").set_value("each").run()
    assert app.dataframe[0].value.columns.tolist() == ["Figure", "Held-out session 1", "Held-out session 2"]


def test_models_page_can_be_linked_to(app: AppTest, said: Said) -> None:
    app.switch_page("pages/models/models.py")
    app.query_params["model"] = "brain_mri"
    app.run()
    assert "Meningioma" in said(app)


def test_models_page_without_bundles_says_so(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    from pages.ui import loaders

    monkeypatch.setattr(
        loaders, "bundle", lambda model: ArtifactError("The model {model} is not installed", model=model)
    )
    app.switch_page("pages/models/models.py").run()
    assert not app.exception and "not installed" in app.error[0].value


APPEARING = """
import sys
from streamlit.testing.v1 import AppTest
from medai_core.errors import ArtifactError
from pages.ui import icu_loaders, loaders, synth_loaders, tab_models, treat_loaders

def absent(model=None):
    raise ArtifactError("Models load in the background; what the pages import by themselves is asked here.")

loaders.load = icu_loaders.load = synth_loaders.load = synth_loaders.load_restorer = absent
tab_models.table_model = treat_loaders.builtin = absent
app = AppTest.from_file("app.py", default_timeout=60).run()
for page in sys.argv[1:]:
    app.switch_page(page).run()
    assert not app.exception and app.title, page
print(*{"tensorflow", "keras", "shap", "lightgbm", "umap", "sklearn"} & set(sys.modules))
"""


def test_pages_appear_without_tensorflow() -> None:
    command = [sys.executable, "-c", APPEARING, *PAGES]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stdout + done.stderr[-2000:]


def test_a_slow_import_starts_only_when_the_home_page_is_drawn(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    from pages.ui import loaders

    order: list[str] = []
    state, bundle = loaders.reader_state, loaders.bundle
    monkeypatch.setattr(loaders, "reader_state", lambda: order.append("asked") or state())
    monkeypatch.setattr(loaders, "bundle", lambda model: order.append("table") or bundle(model))
    app.run()
    assert order[-1] == "asked" and order.index("asked") > max(k for k, what in enumerate(order) if what == "table")


def test_every_code_of_the_gate_has_its_word(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {name: set() for name in ("GateSignal", "_refuse", "GateReport", "Reading")}
    for path in (gate.__file__, intake.__file__, reader.__file__):
        calls = [node for node in ast.walk(ast.parse(Path(path).read_text("utf-8"))) if isinstance(node, ast.Call)]
        for call in calls:
            name = getattr(call.func, "id", "")
            code = call.args[CODE_AT.get(name, 0)] if name in found and call.args else None
            if isinstance(code, ast.Constant):
                found[name].add(code.value)
    assert "emptiness" in found["GateSignal"] and "too_small" in found["GateReport"]
    monkeypatch.setattr(language, "language", lambda: "zh_CN")
    for name in {*gate.SIGNALS, *found["GateSignal"]}:
        assert not words.signal_name(name).isascii(), name
    codes = {*gate.REASONS, *found["_refuse"], *found["GateReport"], *found["Reading"]} - {"ok"}
    fallback = words.refusal_title("no such code")
    assert [code for code in sorted(codes) if words.refusal_title(code) == fallback] == []
    assert [kind for kind in gate.KINDS if words.kind_name(kind).isascii()] == []


# Where the code stands among the arguments.
CODE_AT = {"GateReport": 1, "Reading": 1}


@pytest.mark.parametrize(
    ("value", "words"), [(0.5, "50.0%"), (0.99999, ">99.9%"), (1.0, ">99.9%"), (0.0, "<0.1%"), (0.00001, "<0.1%")]
)
def test_a_probability_never_claims_certainty(value: float, words: str) -> None:
    assert percent(value) == words


def test_a_figure_s_description_holds_its_values(monkeypatch: pytest.MonkeyPatch) -> None:
    from pages.ui import charts

    told: list[str] = []
    monkeypatch.setattr(charts, "draw", lambda figure, key, alt, **options: told.append(alt))
    charts.faithfulness_dots({"Deletion": (-1.31, 0.55)}, "a")
    charts.predictive_values({"prevalence": [0.0, 0.2], "ppv": [0.0, 0.8], "npv": [1.0, 0.9]}, 0.1, "b")
    charts.reliability([{"mean_probability": 0.3, "observed": 0.25, "n": 9}], "c")
    charts.roc({"fpr": [0, 0.1, 1], "tpr": [0, 0.9, 1]}, "d")
    charts.confusion(["normal", "viral"], [[7, 1], [2, 6]], "e")
    charts.counts(["Normal", "Refused"], [4, 2], "f")
    assert told == [
        "Faithfulness of the map against a random order: Deletion: −1.31, Random order 0.55",
        "Predictive values over prevalence: Prevalence 10.0%: PPV 40.0%, NPV 95.0%",
        "Calibration plot (Predicted probability → Observed frequency): 0.30 → 0.25",
        "ROC curve (1 − specificity / Sensitivity): 0.01 / 0.09; 0.05 / 0.45; 0.10 / 0.90; 0.20 / 0.91; 0.50 / 0.94",
        "Confusion matrix (Truth → Model's label): Normal → Normal 7, Viral pneumonia 1; "
        "Viral pneumonia → Normal 2, Viral pneumonia 6",
        "Results by label: Normal 4; Refused 2",
    ]


def test_names_from_outside_cannot_format_the_page() -> None:
    assert plain("![a](b) *c* <d>") == r"\!\[a\]\(b\) \*c\* \<d\>"


def test_an_interval_is_shown_with_its_ends() -> None:
    assert interval({"value": 0.9, "low": 0.8, "high": 0.95}) == "0.900 (0.800–0.950)"
    assert interval({"value": 0.9}) == "0.900"


@pytest.mark.parametrize("model", ["icu_mortality", "icu_forecast"])
def test_figures_of_intensive_care_have_names_in_chinese(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language, "language", lambda: "zh_CN")
    document = json.loads((ROOT / "assets" / "models" / model / "metrics.json").read_text("utf-8"))
    for row in document["figures"] + document["baseline"]:
        for part in words.metric_name(row["metric"]).split(" · "):
            assert re.search(r"[\u4e00-\u9fff]|AUROC|AUPRC|SAPS|SOFA|SAPS|^\d+( h)?$|pH", part), row["metric"]
