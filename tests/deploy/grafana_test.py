"""The dashboards' JSON, held to Grafana's own schemas (its foundation SDK, of the version that Compose runs) and to what
those do not say: identities, places, variables and units; the provisioning files, held to the fields that Grafana
documents. That queries return data is monitoring_test.py's part."""

import copy
import json
import pathlib
import re

import jsonschema
import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

DEPLOY = pathlib.Path(__file__).resolve().parent.parent.parent / "deploy"
BOARDS = {path.stem: json.loads(path.read_text()) for path in sorted((DEPLOY / "grafana/dashboards").glob("*.json"))}
# Identifiers of @grafana/data's value formats.
UNITS = {"none", "short", "percentunit", "bytes", "Bps", "s", "hertz", "watt", "celsius", "ops", "reqps", "rowsps"}
COLUMNS = 24  # of Grafana's grid

register_default_plugins()


def changes(before, after, place=""):
    """Where `after` lacks or changes what `before` has."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [one for key in before
                for one in (changes(before[key], after[key], f"{place}/{key}") if key in after else [f"{place}/{key}"])]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [one for index, pair in enumerate(zip(before, after)) for one in changes(*pair, f"{place}/{index}")]
    return [] if before == after else [place]


def unknown(board):
    """Fields that Grafana's schemas do not know: reading drops them. The definition of a variable is one that they
    leave out though Grafana's editor writes and shows it."""
    read = json.loads(json.dumps(Dashboard.from_json(copy.deepcopy(board)), cls=JSONEncoder))
    return [place for place in changes(board, read) if not re.fullmatch(r"/templating/list/\d+/definition", place)]


@pytest.mark.parametrize("name", BOARDS)
def test_schemas_know_every_field(name):
    assert unknown(BOARDS[name]) == []


@pytest.mark.parametrize("place", [(), ("panels", 1), ("panels", 1, "gridPos"), ("panels", 1, "options", "legend"),
                                   ("panels", 1, "fieldConfig", "defaults", "custom"), ("panels", 1, "targets", 0),
                                   ("templating", "list", 0)])
def test_unknown_field_is_found(place):
    board = copy.deepcopy(BOARDS["gpu"])
    inside = board
    for step in place:
        inside = inside[step]
    inside["lengend"] = {}
    assert unknown(board) == ["/" + "/".join(map(str, (*place, "lengend")))]


def test_identities_are_unique():
    assert len({board["uid"] for board in BOARDS.values()}) == len({board["title"] for board in BOARDS.values()}) \
        == len(BOARDS)
    for board in BOARDS.values():
        ids = [panel["id"] for panel in board["panels"]]
        assert len(set(ids)) == len(ids)
        for panel in board["panels"]:
            names = [target["refId"] for target in panel.get("targets", [])]
            assert len(set(names)) == len(names), panel["title"]
            assert names or panel["type"] == "row", f"{panel['title']} shows nothing"


@pytest.mark.parametrize("name", BOARDS)
def test_panels_lie_on_the_grid_and_none_on_another(name):
    taken = {}
    for panel in BOARDS[name]["panels"]:
        at = panel["gridPos"]
        assert 0 <= at["x"] and at["x"] + at["w"] <= COLUMNS and at["w"] > 0 and at["h"] > 0, panel["title"]
        for cell in ((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])):
            assert taken.setdefault(cell, panel["title"]) == panel["title"], f"{panel['title']} over {taken[cell]}"


@pytest.mark.parametrize("name", BOARDS)
def test_variables_are_declared_before_they_are_used_and_used(name):
    board = BOARDS[name]
    known = []
    for variable in board["templating"]["list"]:
        uses = set(re.findall(r"\$\{?(\w+)", json.dumps([variable.get("query"), variable.get("datasource")])))
        assert uses <= set(known), f"{variable['name']} needs {uses - set(known)}"
        known.append(variable["name"])
    panels = json.dumps(board["panels"])
    used = {use for use in re.findall(r"\$\{?(\w+)", panels) if not use.startswith("__")}
    assert used == set(known)


@pytest.mark.parametrize("name", BOARDS)
def test_units_are_ones_that_grafana_has(name):
    for panel in BOARDS[name]["panels"]:
        if panel["type"] != "row":
            assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]


PROVISIONING = yaml.safe_load((DEPLOY.parent / "tests/deploy/grafana_provisioning.yml").read_text())


def provisioned(kind):
    (path,) = (DEPLOY / "grafana/provisioning" / kind).iterdir()
    return yaml.safe_load(path.read_text())


def test_every_kind_of_provisioning_has_a_schema():
    assert {path.name for path in (DEPLOY / "grafana/provisioning").iterdir()} == set(PROVISIONING)


@pytest.mark.parametrize("kind", PROVISIONING)
def test_provisioning_says_only_what_grafana_documents(kind):
    jsonschema.validate(provisioned(kind), PROVISIONING[kind])


@pytest.mark.parametrize("kind, place, wrong", [
    ("datasources", (), {"datasource": []}),
    ("datasources", ("datasources", 0), {"isDefalt": True}),
    ("datasources", ("datasources", 0), {"url": "prometheus:9090"}),
    ("datasources", ("datasources", 0, "jsonData"), {"timeIntervall": "5s"}),
    ("dashboards", ("providers", 0), {"folders": "mlpserve"}),
    ("dashboards", ("providers", 0, "options"), {"paths": "/var/lib"}),
    ("dashboards", ("providers", 0, "options"), {"path": "dashboards"}),
])
def test_provisioning_with_an_unknown_field_or_a_wrong_value_is_refused(kind, place, wrong):
    text = provisioned(kind)
    inside = text
    for step in place:
        inside = inside[step]
    inside.update(wrong)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(text, PROVISIONING[kind])


def test_compose_mounts_the_dashboards_where_the_provider_looks():
    (provider,) = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/mlpserve.yml").read_text())["providers"]
    grafana = yaml.safe_load((DEPLOY / "compose/compose.yaml").read_text())["services"]["grafana"]
    mounts = dict(volume.split(":")[:2] for volume in grafana["volumes"])
    assert mounts["../grafana/dashboards"] == provider["options"]["path"]
    home = pathlib.PurePath(grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert str(home.parent) == provider["options"]["path"] and home.stem in BOARDS
