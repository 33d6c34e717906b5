"""Makes the JSON schemas that kubeconform checks rendered objects against, without a network.

    schemas.py SWAGGER FOLDER [CRD...]

SWAGGER is Kubernetes' own api/openapi-spec/swagger.json; each CRD is a YAML file. Fields that a schema does not know
are refused: kubeconform leaves that to the schemas.
"""

import json
import pathlib
import sys

import yaml


def strict(schema):
    """A schema of a CRD, with unknown fields refused where the CRD does not allow them."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: strict(part) for key, part in schema.items()}
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    if isinstance(schema.get("properties"), dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        schema.setdefault("additionalProperties", False)
    if schema.pop("nullable", False) and isinstance(schema.get("type"), str):
        schema["type"] = [schema["type"], "null"]
        if "enum" in schema:
            schema["enum"] = [*schema["enum"], None]
    return schema


def from_swagger(path):
    definitions = json.loads(pathlib.Path(path).read_text())["definitions"]
    for name, definition in definitions.items():
        if definition.get("format") == "int-or-string":
            definition["type"] = ["integer", "string"]
        # Quantities are strings in the schema, but 1 may be written, too.
        elif name == "io.k8s.apimachinery.pkg.api.resource.Quantity":
            definition["type"] = ["string", "number"]
        elif "properties" in definition and name != "io.k8s.apimachinery.pkg.runtime.RawExtension":
            definition["additionalProperties"] = False
        # JSON schemas in a CRD are any JSON.
        if name.endswith("apiextensions.v1.JSONSchemaProps"):
            definitions[name] = {"type": "object"}
    for definition in definitions.values():
        for kind in definition.get("x-kubernetes-group-version-kind", []):
            yield kind["group"], kind["version"], kind["kind"], definition, definitions


def needed(schema, definitions, found):
    """The definitions that a schema refers to, and those that these refer to."""
    if isinstance(schema, list):
        for part in schema:
            needed(part, definitions, found)
    elif isinstance(schema, dict):
        name = schema.get("$ref", "").removeprefix("#/definitions/")
        if name and name not in found:
            found[name] = definitions[name]
            needed(definitions[name], definitions, found)
        for part in schema.values():
            needed(part, definitions, found)
    return found


def write(folder, group, version, kind, schema):
    name = "-".join(filter(None, [kind.lower(), group.split(".")[0], version]))
    (folder / f"{name}.json").write_text(json.dumps(schema))


def main():
    folder = pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for group, version, kind, definition, definitions in from_swagger(sys.argv[1]):
        # kubeconform names a core object's schema by kind and version alone.
        write(folder, group, version, kind, {**definition, "definitions": needed(definition, definitions, {})})
    for path in sys.argv[3:]:
        crd = yaml.safe_load(pathlib.Path(path).read_text())["spec"]
        for version in crd["versions"]:
            schema = strict(version["schema"]["openAPIV3Schema"])
            schema["properties"].update(
                apiVersion={"type": "string"}, kind={"type": "string"}, metadata={"type": "object"}
            )
            write(folder, crd["group"], version["name"], crd["names"]["kind"], schema)


main()
