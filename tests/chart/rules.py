"""Prints the groups of rules in a rendered PrometheusRule, as Prometheus reads them.

    rules.py all|values < RENDERED

With `values` only those annotations are kept that show a value, so that tests need not repeat the others.
"""

import sys

import yaml

for manifest in yaml.safe_load_all(sys.stdin):
    if manifest and manifest["kind"] == "PrometheusRule":
        for group in manifest["spec"]["groups"]:
            for rule in group["rules"] if sys.argv[1] == "values" else []:
                rule["annotations"] = {key: text for key, text in rule["annotations"].items() if "{{" in text}
        yaml.safe_dump(manifest["spec"], sys.stdout, sort_keys=False)
