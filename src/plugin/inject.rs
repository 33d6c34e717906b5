//! Prints the proxy as a sidecar: as a patch for a workload, or within whole manifests. It changes nothing in the cluster. The sidecar
//! is the one of the example that the documentation shows.

use std::{io::Read, path::Path};

use serde_json::{Value, json};
use url::Url;

use super::{
    args::InjectArgs,
    cluster::{CliError, Cluster},
};
use crate::{
    api::{Environment, PleoConnectionSpec, names},
    domain::spec::{AllowedServers, ResolvedSpec},
};

const EXAMPLE: &str = include_str!("../../examples/consumers/proxy.yaml");
/// Where the program calls the API.
const API_URL: &str = "PLEO_API_URL";
/// Where the proxy reports a token.
const REPORT_URL: &str = "PLEO_REPORT_URL";
const STAGING_API: &str = "https://external.staging.pleo.io";

/// Prints it.
///
/// # Errors
/// If the connection or a manifest is not there, or holds no pods.
pub async fn inject(cluster: &Cluster, args: &InjectArgs) -> Result<String, CliError> {
    let connection = cluster.connection(&args.name).await?;
    let secret = ResolvedSpec::read(&connection, &AllowedServers::every()).secret_name;
    let upstream = upstream(&connection.spec, args.upstream.as_ref())?;
    let mut sidecar = Sidecar::new(&args.name, &secret, &args.image).map_err(CliError::Message)?;
    let reports = args.reports.as_str().trim_end_matches('/');
    let report_url = format!("{reports}/v1/connections/$(POD_NAMESPACE)/{}/rejections", args.name);
    sidecar.set_variables([
        (REPORT_URL, Some(report_url)),
        ("PLEO_UPSTREAM", upstream),
        ("PLEO_MAX_HOLD", args.max_hold.as_ref().map(ToString::to_string)),
    ]);
    let Some(file) = &args.file else {
        if args.containers.is_empty() {
            eprintln!("Set {API_URL}={} in your program, or name its container with --container.", sidecar.url);
        }
        return yaml(&sidecar.patch(&args.containers));
    };
    let text = read(file).map_err(|error| CliError::Message(format!("cannot read {}: {error}", file.display())))?;
    let whole = sidecar.inject(&text).map_err(|why| CliError::Message(format!("{}: {why}", file.display())))?;
    let documents = whole.iter().map(yaml).collect::<Result<Vec<String>, CliError>>()?;
    Ok(documents.join("---\n"))
}

/// The API of the connection's server; none: the proxy's default.
fn upstream(spec: &PleoConnectionSpec, wanted: Option<&Url>) -> Result<Option<String>, CliError> {
    match (wanted, &spec.server, spec.environment) {
        (Some(url), ..) if url.scheme() == "https" && url.path() == "/" && url.query().is_none() => {
            Ok(Some(url.as_str().trim_end_matches('/').to_owned()))
        }
        (Some(_), ..) => Err(CliError::Message(
            "--upstream: write https://HOST or https://HOST:PORT, without a path: the program's paths are added"
                .to_owned(),
        )),
        (None, Some(_), _) => Err(CliError::Message(
            "the connection has a server of its own: name the API that its tokens are for with --upstream".to_owned(),
        )),
        (None, None, Some(Environment::Staging)) => Ok(Some(STAGING_API.to_owned())),
        (None, None, Some(Environment::Production) | None) => Ok(None),
    }
}

fn read(file: &Path) -> std::io::Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    std::fs::read_to_string(file)
}

fn yaml(value: &Value) -> Result<String, CliError> {
    serde_saphyr::to_string(value).map_err(|error| CliError::Message(format!("this has no YAML form: {error}")))
}

/// What is added to a pod.
struct Sidecar {
    connection: String,
    container: Value,
    volume: Value,
    url: String,
}

impl Sidecar {
    fn new(connection: &str, secret: &str, image: &str) -> Result<Self, String> {
        let example: Value = serde_saphyr::from_str(EXAMPLE).map_err(|error| error.to_string())?;
        let part =
            |pointer: &str| example.pointer(pointer).cloned().ok_or_else(|| format!("the example has no {pointer}"));
        let (mut container, mut volume) =
            (part("/spec/template/spec/initContainers/0")?, part("/spec/template/spec/volumes/0")?);
        let url = part("/spec/template/spec/containers/0/env/0/value")?;
        set(&mut container, "image", image.into());
        set(&mut volume, "secret", json!({ "secretName": secret }));
        let url = url.as_str().unwrap_or_default().to_owned();
        Ok(Self { connection: connection.to_owned(), container, volume, url })
    }

    /// Sets variables of the proxy, in the place of those in the example.
    fn set_variables<const N: usize>(&mut self, variables: [(&str, Option<String>); N]) {
        let Some(env) = self.container.get_mut("env").and_then(Value::as_array_mut) else { return };
        for (name, value) in variables.into_iter().filter_map(|(name, value)| Some((name, value?))) {
            let variable = json!({ "name": name, "value": value });
            match env.iter_mut().find(|old| old.get("name") == variable.get("name")) {
                Some(old) => *old = variable,
                None => env.push(variable),
            }
        }
    }

    /// A strategic merge patch for a workload with a pod template.
    fn patch(&self, containers: &[String]) -> Value {
        let env = |name: &String| json!({ "name": name, "env": [{ "name": API_URL, "value": self.url }] });
        let mut pod = json!({ "initContainers": [self.container], "volumes": [self.volume] });
        if !containers.is_empty() {
            set(&mut pod, "containers", containers.iter().map(env).collect());
        }
        let labels = json!({ names::CONNECTION_LABEL: self.connection });
        json!({ "spec": { "template": { "metadata": { "labels": labels }, "spec": pod } } })
    }

    /// All documents of a file, with the sidecar in each pod.
    fn inject(&self, text: &str) -> Result<Vec<Value>, String> {
        let mut documents: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|error| error.to_string())?;
        let mut pods = 0;
        for document in &mut documents {
            pods += self.add_to(document)?;
        }
        if pods == 0 {
            return Err("there is no Pod in it, nor a workload that makes some".to_owned());
        }
        Ok(documents)
    }

    /// How many pods or pod templates there were.
    fn add_to(&self, object: &mut Value) -> Result<usize, String> {
        let template = match object.get("kind").and_then(Value::as_str) {
            Some("List") => {
                let items = object.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten();
                return items.map(|item| self.add_to(item)).sum();
            }
            Some("Pod") => "",
            Some("CronJob") => "/spec/jobTemplate/spec/template",
            Some("Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job") => "/spec/template",
            Some(_) | None => return Ok(0),
        };
        let template = object.pointer_mut(template).ok_or("a workload has no pod template")?;
        if template.pointer("/spec/hostNetwork") == Some(&true.into()) {
            return Err("a pod uses its node's network, so every pod of the node could call through its proxy: use a Unix socket, as docs/proxy.md says".to_owned());
        }
        let labels = member(member(template, "metadata")?, "labels")?;
        *member(labels, names::CONNECTION_LABEL)? = self.connection.as_str().into();
        let pod = member(template, "spec")?;
        for container in pod.get_mut("containers").and_then(Value::as_array_mut).into_iter().flatten() {
            put(member(container, "env")?, json!({ "name": API_URL, "value": self.url }), false)?;
        }
        put(member(pod, "initContainers")?, self.container.clone(), true)?;
        put(member(pod, "volumes")?, self.volume.clone(), false)?;
        Ok(1)
    }
}

/// A member of an object, which is added if it is not there.
fn member<'a>(object: &'a mut Value, key: &str) -> Result<&'a mut Value, String> {
    if object.is_null() {
        *object = json!({});
    }
    match object {
        Value::Object(members) => Ok(members.entry(key).or_insert(Value::Null)),
        _ => Err(format!("{key} is not in an object: this is no manifest")),
    }
}

/// In the place of the element of that name, or as a new one.
fn put(list: &mut Value, element: Value, is_first: bool) -> Result<(), String> {
    if list.is_null() {
        *list = json!([]);
    }
    let list = list.as_array_mut().ok_or("a list of a pod is none: this is no manifest")?;
    match list.iter_mut().find(|old| old.get("name") == element.get("name")) {
        Some(old) => *old = element,
        None if is_first => list.insert(0, element),
        None => list.push(element),
    }
    Ok(())
}

fn set(object: &mut Value, key: &str, value: Value) {
    if let Some(members) = object.as_object_mut() {
        members.insert(key.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sidecar() -> Sidecar {
        Sidecar::new("beta", "acme-token", "registry.example.com/pleo-operator:1").unwrap()
    }

    #[test]
    fn a_patch_adds_the_proxy_and_leaves_all_else() {
        let patch = sidecar().patch(&["web".to_owned()]);
        let pod = &patch["spec"]["template"]["spec"];
        assert_eq!(patch["spec"]["template"]["metadata"]["labels"]["pleo.io/connection"], "beta");
        assert_eq!(pod["initContainers"][0]["image"], "registry.example.com/pleo-operator:1");
        assert_eq!(pod["initContainers"][0]["restartPolicy"], "Always");
        assert_eq!(pod["volumes"][0]["secret"]["secretName"], "acme-token");
        assert_eq!(pod["containers"][0]["env"][0], json!({"name": "PLEO_API_URL", "value": "http://127.0.0.1:8089"}));
        assert_eq!(sidecar().patch(&[])["spec"]["template"]["spec"].get("containers"), None);
    }

    #[test]
    fn variables_take_the_place_of_those_in_the_example() {
        let mut sidecar = sidecar();
        let url = "http://tokens-reports.tokens/v1/connections/$(POD_NAMESPACE)/beta/rejections".to_owned();
        sidecar.set_variables([
            (REPORT_URL, Some(url.clone())),
            ("PLEO_UPSTREAM", None),
            ("PLEO_MAX_HOLD", Some("2m".into())),
        ]);
        let env = sidecar.container["env"].as_array().unwrap();
        let values = |name: &str| -> Vec<_> {
            env.iter().filter(|one| one["name"] == name).map(|one| one["value"].clone()).collect()
        };
        assert_eq!(values(REPORT_URL), [json!(url)]);
        assert_eq!((values("PLEO_UPSTREAM"), values("PLEO_MAX_HOLD")), (vec![], vec![json!("2m")]));
    }

    /// A token of staging is nothing to production.
    #[test]
    fn the_api_is_that_of_the_connections_server() {
        let spec = |json: Value| serde_json::from_value::<PleoConnectionSpec>(json).unwrap();
        let staging = spec(json!({"environment": "Staging", "client": {"secretRef": {"name": "c"}}}));
        assert_eq!(upstream(&staging, None).unwrap().as_deref(), Some(STAGING_API));
        let own = spec(
            json!({"server": {"tokenURL": "https://auth.example.com/token"}, "client": {"secretRef": {"name": "c"}}}),
        );
        assert!(upstream(&own, None).unwrap_err().to_string().contains("--upstream"));
        let url = Url::parse("https://api.example.com").unwrap();
        assert_eq!(upstream(&own, Some(&url)).unwrap().as_deref(), Some("https://api.example.com"));
        for bad in ["http://api.example.com", "https://api.example.com/v1", "https://api.example.com?a=b"] {
            assert!(
                upstream(&own, Some(&Url::parse(bad).unwrap())).unwrap_err().to_string().contains("without a path")
            );
        }
        assert_eq!(upstream(&spec(json!({"client": {"secretRef": {"name": "c"}}})), None).unwrap(), None);
    }

    #[test]
    fn whole_manifests_get_it_once_before_other_init_containers() {
        let text = "kind: Service\n---\nkind: CronJob\nspec: {jobTemplate: {spec: {template: {spec: {initContainers: [{name: first}], containers: [{name: a}, {name: b, env: [{name: X, value: y}]}]}}}}}\n";
        let once = sidecar().inject(text).unwrap();
        let text: Vec<String> = once.iter().map(|document| serde_saphyr::to_string(document).unwrap()).collect();
        assert_eq!(sidecar().inject(&text.join("---\n")).unwrap(), once, "again changes nothing");
        let pod = &once[1]["spec"]["jobTemplate"]["spec"]["template"]["spec"];
        let names = |list: &Value| list.as_array().unwrap().iter().map(|one| one["name"].clone()).collect::<Vec<_>>();
        assert_eq!(names(&pod["initContainers"]), ["pleo-proxy", "first"]);
        assert_eq!(
            (names(&pod["containers"][0]["env"]), names(&pod["containers"][1]["env"])),
            (vec!["PLEO_API_URL".into()], vec!["X".into(), "PLEO_API_URL".into()])
        );
        assert_eq!(once[0], json!({"kind": "Service"}));
    }

    #[test]
    fn what_cannot_have_a_proxy_is_said() {
        let why = |text: &str| sidecar().inject(text).unwrap_err();
        assert!(why("kind: Service\n").contains("no Pod in it"));
        assert!(why("kind: Pod\nspec: {hostNetwork: true}\n").contains("Unix socket"));
        assert!(why("kind: Deployment\n").contains("no pod template"));
        assert!(why("kind: Pod\nspec: 5\n").contains("no manifest"));
        assert!(why("kind: Pod\nspec: {volumes: x}\n").contains("no manifest"));
        assert!(!why("a: [").is_empty());
    }
}
