//! `coracle route`: which way a request would take, by the objects of a running Coracle, of any cluster, or of manifests. The
//! objects are compiled as the gateway compiles them.

use std::path::Path;

use anyhow::Context;
use gateway::{
    control::{self, CONTROLLER, KINDS, Memory, Snapshot, compile, unserved},
    proxy::explain::{Question, explain},
};
use http::Request;
use kube::{
    Client,
    config::{KubeConfigOptions, Kubeconfig},
};
use objects::kinds::{self, Kind};
use serde_json::{Map, Value, json};

use crate::{
    cli::{Output, Route, Up},
    config::{Config, Machine},
};

/// Explains a request.
///
/// # Errors
/// When the request, the settings or the manifests are wrong, or no Coracle answers.
pub fn run(flags: &Route) -> anyhow::Result<()> {
    let question = Question::new(&flags.method, &flags.url, &flags.header)?.from_namespace(flags.from.clone());
    let settings = Up {
        data_dir: flags.data_dir.clone(),
        publish: flags.publish.clone(),
        bind: flags.bind,
        config: flags.config.clone(),
        ..Up::default()
    };
    let config = Config::load(&settings, &Machine::current())?;
    let objects = if flags.kustomize.is_empty() && flags.filename.is_empty() {
        let kubeconfig = flags.kubeconfig.clone().unwrap_or_else(|| config.data_dir.join("kubeconfig"));
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
        runtime.block_on(ask(&kubeconfig)).with_context(|| {
            format!("ask the API of {}: start Coracle, or name manifests with -k or -f", kubeconfig.display())
        })?
    } else {
        as_if_applied(crate::up::read(&flags.kustomize, &flags.filename)?)
    };
    let publish = config
        .publish
        .iter()
        .map(|publish| control::Publish { address: publish.address, listener_port: publish.listener_port });
    let options = control::Options::new(publish.collect(), config.bind);
    let compiled = compile(&snapshot(objects)?, &options, &mut Memory::default(), jiff::Timestamp::now());
    let explanation = explain(&compiled.table, &question, &options.publish);
    let unserved = unserved(&compiled.statuses);
    match flags.output {
        Output::Json => {
            let mut value = serde_json::to_value(&explanation)?;
            value["unserved"] = serde_json::to_value(&unserved)?;
            println!("{value}");
        }
        Output::Text => {
            print!("{explanation}");
            for it in unserved {
                println!("! {} at {} is not served whole: {}: {}", it.object, it.part, it.reason, it.message);
            }
        }
    }
    Ok(())
}

/// What an API server makes of objects: they are in a namespace, which is there, and so is the class.
fn as_if_applied(mut objects: Vec<Value>) -> Vec<Value> {
    let mut namespaces = vec!["default".to_owned()];
    for object in &mut objects {
        let (group, version) = api_version(object);
        let kind = object["kind"].as_str().unwrap_or_default();
        let namespaced = kinds::by_kind(&group, &version, kind).is_none_or(|kind| kind.namespaced);
        if namespaced && object["metadata"].is_object() {
            let namespace = object["metadata"]["namespace"].as_str().unwrap_or("default").to_owned();
            object["metadata"]["namespace"] = namespace.clone().into();
            namespaces.push(namespace);
        }
    }
    let named = |kind: &str, name: &str| objects.iter().any(|o| o["kind"] == kind && o["metadata"]["name"] == name);
    namespaces.sort();
    namespaces.dedup();
    namespaces.retain(|name| !named("Namespace", name));
    let class = (!named("GatewayClass", "coracle")).then(|| {
        json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": "coracle"},
            "spec": {"controllerName": CONTROLLER}})
    });
    objects.extend(class);
    objects.extend(namespaces.into_iter().map(|name| {
        let labels = json!({"kubernetes.io/metadata.name": name});
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    }));
    objects
}

fn api_version(object: &Value) -> (String, String) {
    let text = object["apiVersion"].as_str().unwrap_or_default();
    let (group, version) = text.split_once('/').unwrap_or(("", text));
    (group.to_owned(), version.to_owned())
}

fn snapshot(objects: Vec<Value>) -> anyhow::Result<Snapshot> {
    let mut snapshot = Snapshot::default();
    for mut object in objects {
        let name = format!("{} {}", object["kind"].as_str().unwrap_or_default(), object["metadata"]["name"]);
        // What an earlier compilation said would hide what this one says.
        if let Some(fields) = object.as_object_mut() {
            fields.remove("status");
        }
        snapshot.insert(object).with_context(|| name)?;
    }
    Ok(snapshot)
}

/// Every object that the gateway looks at.
async fn ask(kubeconfig: &Path) -> anyhow::Result<Vec<Value>> {
    let config = Kubeconfig::read_from(kubeconfig)?;
    let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
    let client = Client::try_from(config)?;
    let mut objects = Vec::new();
    for kind in kinds::stored().filter(|kind| KINDS.contains(&(kind.group, kind.kind))) {
        objects.extend(list(&client, kind).await.with_context(|| format!("list {}", kind.plural))?);
    }
    Ok(objects)
}

/// The objects of a kind; none where the kind is not known.
async fn list(client: &Client, kind: &Kind) -> anyhow::Result<Vec<Value>> {
    let root = if kind.group.is_empty() { "/api" } else { "/apis" };
    let selector = if kind.kind == "Secret" { "?fieldSelector=type%3Dkubernetes.io%2Ftls" } else { "" };
    let path = format!("{root}/{}/{}{selector}", kind.api_version(), kind.plural);
    let list: List = match client.request(Request::get(path).body(Vec::new())?).await {
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(Vec::new()),
        listed => listed?,
    };
    let items = list.items.into_iter().map(|mut item| {
        // Those of a list do not say it themselves.
        item.insert("apiVersion".to_owned(), kind.api_version().into());
        item.insert("kind".to_owned(), kind.kind.into());
        Value::Object(item)
    });
    Ok(items.collect())
}

/// What an API lists.
#[derive(serde::Deserialize)]
struct List {
    items: Vec<Map<String, Value>>,
}
