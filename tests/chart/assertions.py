"""What the chart must render, and what it must refuse to render, and with which words.

    assertions.py CHART RENDERED

RENDERED is the folder with what the files in CHART/ci render.
"""

import json
import pathlib
import re
import subprocess
import sys

import yaml

CHART, RENDERED = (pathlib.Path(path) for path in sys.argv[1:])
IMAGE = ["--set", "image.repository=registry.example.com/pleo-operator"]
CLUSTER_SCOPED = {
    "Namespace",
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleBinding",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "PriorityClass",
}
failures = []
checks = 0


def check(holds, words):
    global checks
    checks += 1
    if not holds:
        failures.append(words)


def helm(*arguments, namespace="pleo-system", image=True):
    command = ["helm", "template", "pleo-operator", CHART, "--namespace", namespace, *(IMAGE if image else []), *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def render(*arguments, **options):
    run = helm(*arguments, **options)
    check(run.returncode == 0, f"{arguments}: does not render: {run.stderr}")
    return [manifest for manifest in yaml.safe_load_all(run.stdout) if manifest]


def rendered(name):
    text = (RENDERED / f"{name}.yaml").read_text()
    return [manifest for manifest in yaml.safe_load_all(text) if manifest]


def of_kind(manifests, kind):
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def one(manifests, kind):
    found = of_kind(manifests, kind)
    check(len(found) == 1, f"there should be one {kind}, not {len(found)}")
    return found[0]


def environment(manifests):
    container = one(manifests, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    return {variable["name"]: variable.get("value") for variable in container["env"]}


def refused(words, *arguments, image=True):
    run = helm(*arguments, image=image)
    check(run.returncode != 0, f"{arguments}: should be refused")
    check(words in run.stderr, f"{arguments}: should be refused with {words!r}, but: {run.stderr}")


def contradictions():
    refused("there is no published image: build one with `make image`", image=False)
    refused("is no digest: write sha256:", "--set", "image.digest=sha256:abc")
    refused("put that into image.tag or image.digest", "--set", "image.repository=registry.example.com/pleo-operator:1", image=False)
    refused("put that into image.tag or image.digest", "--set", "image.repository=registry.example.com/x@sha256:0", image=False)
    refused('"Finance" is no name of a namespace', "--set", "namespaces={Finance}")
    refused('"*" is no name of a namespace; for all namespaces leave the list empty', "--set", "namespaces={*}")
    refused("these are listed twice: finance, sales, finance", "--set", "namespaces={finance,sales,finance}")
    refused("set serviceAccount.name to the account", "--set", "serviceAccount.create=false")
    refused("does not begin with https://", "--set", "allowedServers={http://auth.example.com}")
    refused("does not begin with https://", "--set", "allowedServers={auth.example.com}")
    refused("more or less in it than scheme, host and port", "--set", "allowedServers={https://auth.example.com/oauth/token}")
    refused("more or less in it than scheme, host and port", "--set", "allowedServers={https://user@auth.example.com}")
    refused("there is no proxy to go around", "--set", "proxy.noProxy=.svc")
    refused("does not begin with http:// or https://", "--set", "proxy.https=proxy.example.com:3128")
    for key in "requestTimeout", "leaderElection.leaseDuration":
        refused(f'{key} "60" is no duration: write it like 90s', "--set-string", f"{key}=60")
        refused(f'{key} "soon" is no duration', "--set", f"{key}=soon")
        refused(f'{key} "" is no duration', "--set", f"{key}=")
        refused(f'{key} "0s" is too short: 1s at least', "--set", f"{key}=0s")
        refused(f'{key} "999ms" is too short: 1s at least', "--set", f"{key}=999ms")
    refused("terminationGracePeriodSeconds 30 is too short for requestTimeout 60s", "--set", "terminationGracePeriodSeconds=30")
    refused("Write 75 or more", "--set", "terminationGracePeriodSeconds=74")
    refused("to turn it off write notifyPods.enabled=false", "--set", "notifyPods.perSecond=0")
    refused("no node with a replica could ever be drained", "--set", "podDisruptionBudget.maxUnavailable=0")
    refused("no node with a replica could ever be drained", "--set", "podDisruptionBudget.maxUnavailable=0%")
    refused("extraArgs: --lease-name is set by the chart; use leaderElection.leaseName", "--set", "extraArgs={--lease-name=x}")
    refused("extraArgs: --namespace is set by the chart; use namespaces", "--set", "extraArgs={--namespace,finance}")
    refused("extraEnv: PLEO_ALLOWED_SERVER is set by the chart; use allowedServers", "--set", "extraEnv[0].name=PLEO_ALLOWED_SERVER,extraEnv[0].value=x")
    refused("extraEnv: NO_PROXY is set by the chart; use proxy.noProxy", "--set", "extraEnv[0].name=NO_PROXY,extraEnv[0].value=x")
    refused("set metrics.service.enabled=true", "--set", "metrics.serviceMonitor.enabled=true,metrics.service.enabled=false")
    for url in "pleo.example.com", "http://pleo.example.com", "https://user@pleo.example.com", "https://pleo.example.com/?x":
        refused("write it like https://pleo.example.com", "--set", f"links.publicURL={url}")
    refused("need links.publicURL", "--set", "links.ingress.enabled=true")
    refused("needs links.httpRoute.parentRefs", "--set", "links.publicURL=https://pleo.example.com,links.httpRoute.enabled=true")
    refused("are both 8080", "--set", "links.publicURL=https://pleo.example.com,links.port=8080")
    for url in "hooks.example.com", "ftp://hooks.example.com", "https://user@hooks.example.com/":
        refused("write it like https://hooks.example.com/pleo", "--set", f"webhook.url={url}")
    refused("webhook.url needs webhook.secretName", "--set", "webhook.url=https://hooks.example.com/pleo")
    refused("webhook.secretName is set without webhook.url", "--set", "webhook.secretName=key")
    refused("are both set", "--set", "webhook.url=https://hooks.example.com/pleo,webhook.urlKey=url,webhook.secretName=key")
    refused("say with networkPolicy.scraper.namespaceSelector", "--set", "metrics.serviceMonitor.enabled=true,networkPolicy.enabled=true")
    refused("there is no alert PleoUnheardOf", "--set", "metrics.prometheusRules.rules.PleoUnheardOf.enabled=true")
    # By the schema.
    refused("additional properties 'registry' not allowed", "--set", "image.registry=x")
    refused("'/replicaCount'", "--set", "replicaCount=two")
    refused("'/notifyPods/perSecond'", "--set", "notifyPods.perSecond=65536")
    refused("additional properties 'severty' not allowed", "--set", "metrics.prometheusRules.rules.PleoNoLeader.severty=x")


def scopes():
    for name in "namespaced", "namespaced-pods":
        manifests = rendered(name)
        found = {manifest["kind"] for manifest in manifests} & CLUSTER_SCOPED
        check(not found, f"{name}: objects of the cluster: {found}")
        for manifest in manifests:
            namespace = manifest["metadata"].get("namespace")
            check(namespace in {"pleo-system", "finance", "sales"}, f"{name}: {manifest['kind']} in {namespace}")
    manifests = rendered("namespaced")
    check(environment(manifests)["PLEO_NAMESPACE"] == "finance,sales", "PLEO_NAMESPACE is not what was asked for")
    check(environment(manifests)["PLEO_NOTIFY_PODS_PER_SECOND"] == "0", "pods are told without a policy")
    check("pods" not in json.dumps(of_kind(manifests, "Role")), "a right on pods that is not needed")
    for kind in "Role", "RoleBinding":
        found = sorted(manifest["metadata"]["namespace"] for manifest in of_kind(manifests, kind))
        check(found == ["finance", "pleo-system", "sales"], f"{kind}s in {found}")
    # No list of ours is longer than it must be: each right by itself.
    rules = one(rendered("default"), "ClusterRoleBinding")["roleRef"]["name"]
    role = next(role for role in of_kind(rendered("default"), "ClusterRole") if role["metadata"]["name"] == rules)
    check(
        {(rule["resources"][0], *rule["verbs"]) for rule in role["rules"]}
        == {
            ("pleoconnections", "get", "list", "watch"),
            ("pleoconnections/status", "update"),
            ("secrets", "get", "list", "watch", "create", "patch", "delete"),
            ("events", "create"),
            ("pods", "list", "patch"),
        },
        f"the operator's rights: {role['rules']}",
    )
    for manifest in rendered("full"):
        check("*" not in json.dumps(manifest.get("rules", [])), f"a star in {manifest['kind']}")
    environment_all = environment(rendered("default"))
    check("PLEO_NAMESPACE" not in environment_all, "PLEO_NAMESPACE in a cluster-wide install")
    check("" not in environment_all.values(), "an empty variable is an error for the operator")
    for values, expected in (
        ("notifyPods.enabled=false", {"secrets"}),
        ("notifyPods.enabled=true", {"secrets", "pods"}),
        ("notifyPods.enabled=false,restartTargets.enabled=true", {"secrets", "workloads"}),
        ("restartTargets.enabled=true", {"secrets", "pods", "workloads"}),
        ("admissionPolicy.enabled=false,notifyPods.enabled=true,restartTargets.enabled=true", set()),
    ):
        manifests = render("--set", values)
        policies = of_kind(manifests, "ValidatingAdmissionPolicy")
        bindings = of_kind(manifests, "ValidatingAdmissionPolicyBinding")
        found = {policy["metadata"]["name"].removeprefix("pleo-operator.pleo-system.") for policy in policies}
        check(found == expected, f"{values}: policies: {found}")
        check({binding["spec"]["policyName"] for binding in bindings} == {policy["metadata"]["name"] for policy in policies}, f"{values}: bindings")
        check(all(binding["spec"]["validationActions"] == ["Deny"] for binding in bindings), f"{values}: a policy that does not deny")
        account = one(manifests, "ServiceAccount")["metadata"]
        user = f"request.userInfo.username == 'system:serviceaccount:{account['namespace']}:{account['name']}'"
        for policy in policies:
            check(policy["spec"]["failurePolicy"] == "Fail", f"{values}: a policy that fails open")
            check([condition["expression"] for condition in policy["spec"]["matchConditions"]] == [user], f"{values}: whom a policy is for")
            check(all(validation["reason"] == "Forbidden" for validation in policy["spec"]["validations"]), f"{values}: a reason")
            check(all("messageExpression" not in validation for validation in policy["spec"]["validations"]), f"{values}: a message that may quote")
    check(environment(render("--set", "admissionPolicy.enabled=false"))["PLEO_NOTIFY_PODS_PER_SECOND"] == "0", "told without a policy")
    # Two releases of one name in two namespaces share nothing but the CRD.
    names = [
        {(manifest["kind"], manifest["metadata"]["name"]) for manifest in render("--set", "restartTargets.enabled=true", namespace=namespace) if manifest["kind"] in CLUSTER_SCOPED}
        for namespace in ("one", "two")
    ]
    check({kind for kind, _ in names[0] & names[1]} == {"CustomResourceDefinition"}, f"shared: {names[0] & names[1]}")


def pods():
    """The restricted Pod Security Standard, and what else holds for each pod."""
    for path in sorted(RENDERED.glob("*.yaml")):
        for manifest in rendered(path.stem):
            spec = manifest["spec"]["template"]["spec"] if manifest["kind"] == "Deployment" else manifest.get("spec", {})
            if manifest["kind"] not in {"Deployment", "Pod"}:
                continue
            where = f"{path.stem}: {manifest['kind']}"
            check(spec["securityContext"]["runAsNonRoot"] is True, f"{where} may run as root")
            check("runAsUser" not in spec["securityContext"], f"{where} has a fixed user")
            check(spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, f"{where} has no seccomp profile")
            check(not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(), f"{where} is in the host's namespaces")
            for container in spec["containers"]:
                context = container["securityContext"]
                check(context["allowPrivilegeEscalation"] is False, f"{where} may escalate")
                check(context["readOnlyRootFilesystem"] is True, f"{where} may write its disk")
                check(context["capabilities"] == {"drop": ["ALL"]}, f"{where} has capabilities")
                check("limits" in container["resources"] and "cpu" not in container["resources"]["limits"], f"{where}: limits")
            if manifest["kind"] == "Pod":
                continue
            selector = manifest["spec"]["selector"]["matchLabels"]
            labels = manifest["spec"]["template"]["metadata"]["labels"]
            check(selector.items() <= labels.items(), f"{where}: the selector does not choose its pods")
            test = one(rendered(path.stem), "Pod")["metadata"]["labels"]
            check(not selector.items() <= test.items(), f"{where}: the selector chooses the pod of the chart test")
    grace = lambda *values: one(render(*values), "Deployment")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    check(grace() == 90, "grace period of 60s")
    check(grace("--set", "requestTimeout=1m30.5s") == 121, "grace period of 1m30.5s")
    check(grace("--set", "requestTimeout=1h1m") == 3690, "grace period of 1h1m")
    check(grace("--set", "requestTimeout=1500ms") == 32, "grace period of 1500ms")
    check(grace("--set", "terminationGracePeriodSeconds=75") == 75, "grace period as told")


def names_and_values():
    # As part of another chart.
    render("--set", "global.anything.at=all,enabled=true")
    # Names never get too long.
    long = "a" * 53
    for manifest in render("--set", f"fullnameOverride={long * 2}", "--set", "metrics.dashboards.enabled=true"):
        check(len(manifest["metadata"]["name"]) <= (253 if manifest["kind"] in CLUSTER_SCOPED else 63), f"too long: {manifest['metadata']['name']}")
    # The user's labels do not take the place of what selectors hang on.
    manifests = render("--set", "commonLabels.app\\.kubernetes\\.io/name=other,podLabels.app\\.kubernetes\\.io/instance=other")
    labels = one(manifests, "Deployment")["spec"]["template"]["metadata"]["labels"]
    check(labels["app.kubernetes.io/name"] == "pleo-operator" and labels["app.kubernetes.io/instance"] == "pleo-operator", "labels were taken over")
    crd = one(rendered("default"), "CustomResourceDefinition")
    check(crd["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}, "the CRD is not kept")
    check("annotations" not in one(render("--set", "crds.keep=false"), "CustomResourceDefinition")["metadata"], "the CRD is kept")
    check(crd["spec"] == yaml.safe_load((CHART / "files/crd.yaml").read_text())["spec"], "the CRD was changed by rendering it")
    check(len(json.dumps(crd)) < 200_000, "the CRD is too large for kubectl apply")
    lease = [role for role in of_kind(rendered("full"), "Role") if "leases" in json.dumps(role)][0]["rules"]
    check(lease[0]["verbs"] == ["create"] and "resourceNames" not in lease[0], f"the right to make a Lease: {lease}")
    check(lease[1]["resourceNames"] == [environment(rendered("full"))["PLEO_LEASE_NAME"]], f"the right to a Lease: {lease}")


def monitoring():
    pages = CHART / "../../docs/runbooks"
    alerts = yaml.safe_load((CHART / "files/alerts.yaml").read_text())
    switches = yaml.safe_load((CHART / "values.yaml").read_text())["metrics"]["prometheusRules"]["rules"]
    check(set(alerts) == set(switches), f"alerts without a switch, or the other way: {set(alerts) ^ set(switches)}")
    found = {page.stem for page in pages.glob("Pleo*.md")}
    check(set(alerts) == found, f"alerts without a page, or the other way: {set(alerts) ^ found}")
    index = (pages / "README.md").read_text()
    tested = (CHART / "../../tests/chart/alerts_test.yaml").read_text()
    for name, alert in alerts.items():
        check(f"[{name}]({name}.md)" in index, f"{name} is not in the index of the pages")
        blocks = re.findall(rf"alertname: {name}\b[^\n]*\n?[^\n]*", tested)
        check(any("exp_alerts" in block for block in blocks), f"{name} is nowhere tested to fire")
        check(any("exp_alerts" not in block.split("\n")[0] and "exp_alerts" not in block.split("\n")[-1] for block in blocks), f"{name} is nowhere tested to be quiet")
        page = (pages / f"{name}.md").read_text()
        check(f"`{alert['severity']}`" in page, f"{name}: the page tells another severity")
        check((f"after {alert['for']}" if "for" in alert else "at once") in page, f"{name}: the page tells another time")
    rules = {rule["alert"]: rule for rule in one(rendered("monitoring"), "PrometheusRule")["spec"]["groups"][0]["rules"]}
    check(set(rules) == set(alerts) - {"PleoCommitSlow"}, "a switch does not switch")
    reauth = rules["PleoReauthRequired"]
    check(reauth["for"] == "1m" and reauth["labels"] == {"severity": "warning", "team": "finance", "page": "no"}, f"overrides: {reauth}")
    check(reauth["annotations"]["channel"] == "#finance", f"overrides: {reauth}")
    url = reauth["annotations"]["runbook_url"]
    check(url == "https://git.example.com/pleo-operator/docs/runbooks/PleoReauthRequired.md", f"runbook_url: {url}")
    dashboard = one(rendered("monitoring"), "ConfigMap")
    check(dashboard["metadata"]["labels"]["grafana_dashboard"] == "1", "Grafana does not find the dashboard")
    shown = " ".join(target["expr"] for panel in json.loads(dashboard["data"]["pleo-operator.json"])["panels"] for target in panel.get("targets", []))
    metrics = re.findall(r"^\| `(pleo_\w+)", (CHART / "../../docs/metrics.md").read_text(), re.MULTILINE)
    check(metrics and not [metric for metric in metrics if metric not in shown], "a metric of docs/metrics.md is nowhere on the dashboard")
    monitor = one(rendered("monitoring"), "ServiceMonitor")["spec"]
    check(monitor["endpoints"][0]["honorLabels"] is True, "the label namespace would be the operator's")
    service = [one_ for one_ in of_kind(rendered("monitoring"), "Service") if not one_["metadata"]["name"].endswith("-reports")][0]
    check(monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items(), "no Service is chosen")


def network():
    policy = one(rendered("full"), "NetworkPolicy")["spec"]
    ports = [[port["port"] for port in rule["ports"]] for rule in policy["egress"]]
    check(ports == [[53, 53], [443, 8443, 9443, 3128], [8444], [443, 6443], [9000]], f"ports: {ports}")
    check(all(rule.get("to") for rule in policy["egress"]), "networks are left out")
    closed = one(rendered("namespaced-pods"), "NetworkPolicy")["spec"]
    consumers = {"namespaceSelector": {}, "podSelector": {"matchExpressions": [{"key": "pleo.io/connection", "operator": "Exists"}]}}
    reports = [{"ports": [{"protocol": "TCP", "port": "reports"}], "from": [consumers]}]
    check(closed["ingress"] == reports and set(closed["policyTypes"]) == {"Ingress", "Egress"}, "somebody else may come in")
    none = one(render("--set", "networkPolicy.enabled=true,reports.enabled=false"), "NetworkPolicy")["spec"]
    check(none["ingress"] == [], f"somebody may come in: {none['ingress']}")


def links():
    check(not [one_ for one_ in rendered("default") if one_["metadata"]["name"].endswith("-links")], "links by default")
    service = [one_ for one_ in of_kind(rendered("full"), "Service") if one_["metadata"]["name"].endswith("-links")][0]
    ingress = one(rendered("full"), "Ingress")
    rule = ingress["spec"]["rules"][0]
    check((rule["host"], rule["http"]["paths"][0]["path"]) == ("pleo.example.com", "/connect"), f"the Ingress: {rule}")
    backend = rule["http"]["paths"][0]["backend"]["service"]
    check(backend == {"name": service["metadata"]["name"], "port": {"name": "http"}}, f"its backend: {backend}")
    check(service["spec"]["ports"][0]["targetPort"] == "links", "the Service leads elsewhere")
    container = one(rendered("full"), "Deployment")["spec"]["template"]["spec"]["containers"][0]
    check({"name": "links", "containerPort": 9081, "protocol": "TCP"} in container["ports"], f"ports: {container['ports']}")
    variables = environment(rendered("full"))
    check(variables["PLEO_PUBLIC_URL"] == "https://pleo.example.com/connect", "PLEO_PUBLIC_URL")
    check(variables["PLEO_LINK_ADDRESS"] == "[::]:9081", "PLEO_LINK_ADDRESS")
    check(variables["PLEO_ALLOWED_RETURN"] == "https://app.example.com", "PLEO_ALLOWED_RETURN")
    route = one(render("--set", "links.publicURL=https://pleo.example.com", "--set", "links.httpRoute.enabled=true",
                       "--set", "links.httpRoute.parentRefs[0].name=public"), "HTTPRoute")["spec"]
    check(route["rules"][0]["matches"][0]["path"]["value"] == "/", f"the HTTPRoute: {route}")


def reports():
    service = [one_ for one_ in of_kind(rendered("default"), "Service") if one_["metadata"]["name"] == "pleo-operator-reports"][0]
    check((service["spec"]["ports"][0]["port"], service["spec"]["ports"][0]["targetPort"]) == (80, "reports"), "the Service leads elsewhere")
    container = one(rendered("full"), "Deployment")["spec"]["template"]["spec"]["containers"][0]
    check({"name": "reports", "containerPort": 9082, "protocol": "TCP"} in container["ports"], f"ports: {container['ports']}")
    check(environment(rendered("full"))["PLEO_REPORT_ADDRESS"] == "[::]:9082", "PLEO_REPORT_ADDRESS")
    off = render("--set", "reports.enabled=false")
    check("PLEO_REPORT_ADDRESS" not in environment(off), "reports that are off")
    check(not [one_ for one_ in of_kind(off, "Service") if one_["metadata"]["name"].endswith("-reports")], "a Service for reports that are off")
    refused("reports.port and metrics.port are both 8080", "--set", "reports.port=8080")
    refused("reports.port and links.port are both 8081", "--set", "links.publicURL=https://pleo.example.com,reports.port=8081")


def webhook():
    default = one(rendered("default"), "Deployment")["spec"]["template"]["spec"]
    check("volumes" not in default and "PLEO_NOTIFY_URL" not in environment(rendered("default")), "a webhook by default")
    pod = one(rendered("full"), "Deployment")["spec"]["template"]["spec"]
    secret = [volume["secret"] for volume in pod["volumes"] if volume["name"] == "webhook"]
    check(secret == [{"secretName": "webhook-key", "optional": True, "items": [{"key": "signing-key", "path": "key"}]}], f"its key: {secret}")
    mount = [mount for mount in pod["containers"][0]["volumeMounts"] if mount["name"] == "webhook"][0]
    variables = environment(rendered("full"))
    check(variables["PLEO_NOTIFY_KEY_FILE"] == mount["mountPath"] + "/key" and mount["readOnly"], f"its mount: {mount}")
    check(variables["PLEO_NOTIFY_URL"] == "https://hooks.example.com:8444/pleo", "PLEO_NOTIFY_URL")
    pod = one(render("--set", "webhook.urlKey=url,webhook.secretName=key"), "Deployment")["spec"]["template"]["spec"]
    url = [one_ for one_ in pod["containers"][0]["env"] if one_["name"] == "PLEO_NOTIFY_URL"][0]
    check(url["valueFrom"]["secretKeyRef"] == {"name": "key", "key": "url", "optional": True}, f"the URL: {url}")


for part in contradictions, scopes, pods, names_and_values, monitoring, network, links, reports, webhook:
    part()
for failure in failures:
    print(f"assertions: {failure}", file=sys.stderr)
print(f"assertions: {checks - len(failures)} hold, {len(failures)} do not")
sys.exit(1 if failures else 0)
