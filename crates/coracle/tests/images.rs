//! The recipes of the services' images agree with the workspace and with the manifests that name the images. Building and starting
//! them takes a registry and an engine, which tests do not have.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use regex::Regex;
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn table(path: impl AsRef<Path>) -> toml::Table {
    read(path).parse().unwrap()
}

/// The services that are programs, each with its Dockerfile.
fn dockerfiles() -> BTreeMap<String, String> {
    let apps = fs::read_dir(root().join("apps")).unwrap().map(|entry| entry.unwrap().path());
    let programs = apps.filter(|path| path.join("src/main.rs").exists());
    let all = programs.map(|path| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let text = read(path.join("Dockerfile"));
        (name, text)
    });
    let all: BTreeMap<_, _> = all.collect();
    assert!(all.len() > 1, "{all:?}");
    all
}

/// What follows `word` in a Dockerfile's only such line.
fn only<'a>(dockerfile: &'a str, word: &str) -> &'a str {
    let mut found = dockerfile.lines().filter_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
    let (one, more) = (found.next(), found.next());
    assert!(more.is_none(), "more than one {word}: {dockerfile}");
    one.unwrap_or_else(|| panic!("no {word}: {dockerfile}"))
}

/// Every text below `systems`.
fn manifests() -> Vec<String> {
    let (mut folders, mut texts) = (vec![root().join("systems")], Vec::new());
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "yaml") {
                texts.push(fs::read_to_string(path).unwrap());
            }
        }
    }
    texts
}

#[test]
fn every_services_image_is_built_in_the_same_steps() {
    let steps = |name: &str, text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.starts_with("EXPOSE "));
        // One may have a list of its own of what lies together in it.
        lines.map(|line| line.replace(name, "NAME").replace("/NAME/layout.ld", "/layout.ld")).collect()
    };
    let all = dockerfiles();
    let common = steps("hello", &all["hello"]);
    let list = Regex::new(r"-T,/src/(\S+)").unwrap();
    for (name, text) in &all {
        let theirs = steps(name, text);
        let mut rest = theirs.iter();
        for line in &common {
            assert!(rest.any(|other| other == line), "{name} lacks, or has elsewhere, what hello has: {line}");
        }
        let list = list.captures(text).map(|found| found[1].to_owned()).unwrap_or_else(|| panic!("{name}: {text}"));
        let found = read(&list).matches("*(.text.").count();
        assert!(found > 100, "{name}: what lies together is to be in {list}");
        assert_eq!(table(format!("apps/{name}/Cargo.toml"))["package"]["name"].as_str(), Some(name.as_str()));
    }
}

#[test]
fn an_image_is_built_by_a_compiler_that_is_new_enough_and_runs_on_the_system_it_was_built_on() {
    let manifest = table("Cargo.toml");
    let least = manifest["workspace"]["package"]["rust-version"].as_str().unwrap();
    let minor = |version: &str| version.strip_prefix("1.").unwrap().parse::<u32>().unwrap();
    let bases = Regex::new(
        r"FROM docker.io/library/rust:(1\.\d+)-bookworm AS build\n[^$]*FROM gcr.io/distroless/cc-debian12:nonroot\n",
    );
    let bases = bases.unwrap();
    for (name, text) in dockerfiles() {
        let compiler = &bases.captures(&text).unwrap_or_else(|| panic!("{name}: {text}"))[1];
        assert!(minor(compiler) >= minor(least), "{name}: {compiler} is older than {least}");
    }
}

#[test]
fn what_the_workspace_is_made_of_is_sent_to_the_builder_and_taken_by_it() {
    let ignore = read(".dockerignore");
    let manifest = table("Cargo.toml");
    let members = manifest["workspace"]["members"].as_array().unwrap().iter();
    let members = members.map(|member| member.as_str().unwrap().trim_end_matches("/*"));
    let needed: BTreeSet<&str> = members.chain(["Cargo.toml", "Cargo.lock"]).collect();
    for path in &needed {
        assert!(ignore.lines().any(|line| line == format!("!{path}")), "{path}");
    }
    for (name, text) in dockerfiles() {
        let from_here =
            text.lines().filter_map(|line| line.strip_prefix("COPY ")).filter(|copy| !copy.starts_with("--from"));
        let taken: BTreeSet<&str> = from_here.flat_map(|copy| copy.split(' ').rev().skip(1)).collect();
        assert_eq!(taken, needed, "{name}");
    }
}

#[test]
fn an_image_has_the_user_and_the_port_of_the_manifests_that_name_it() {
    let manifests = manifests();
    for (name, text) in dockerfiles() {
        let (user, port) = (only(&text, "USER"), only(&text, "EXPOSE"));
        assert_eq!(user, "65532:65532", "{name}: a number, which alone shows a cluster that it is not root");
        let of = |key: &str, text: &str| -> BTreeSet<String> {
            let found = Regex::new(&format!(r"(?m)^\s*(?:- )?{key}: (\d+)$")).unwrap();
            found.captures_iter(text).map(|found| found[1].to_owned()).collect()
        };
        let using: Vec<_> = manifests
            .iter()
            .filter(|text| text.contains("kind:") && text.contains(&format!("image: {name}:")))
            .collect();
        assert!(!using.is_empty(), "nothing runs {name}");
        for text in using {
            assert_eq!(of("containerPort", text), [port.to_owned()].into(), "{name}");
            assert_eq!(of("runAsUser", text), ["65532".to_owned()].into(), "{name}");
        }
    }
}

#[test]
fn a_systems_readme_says_how_its_images_are_built() {
    for entry in fs::read_dir(root().join("systems")).unwrap() {
        let system = entry.unwrap().path();
        let (readme, names) = (read(system.join("README.md")), dockerfiles());
        let base = fs::read_dir(system.join("base")).unwrap();
        let base: String = base.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()).collect();
        for name in names.keys().filter(|name| base.contains(&format!("image: {name}:"))) {
            let tag = Regex::new(&format!(r"image: ({name}:\S+)")).unwrap().captures(&base).unwrap()[1].to_owned();
            let command = format!("docker build -f apps/{name}/Dockerfile -t {tag} .");
            assert!(readme.contains(&command), "{}: {command}", system.display());
        }
    }
}

fn names(map: &Value) -> impl Iterator<Item = &str> {
    map.as_object().into_iter().flatten().map(|(name, _)| name.as_str())
}

#[test]
fn the_compose_file_has_the_settings_that_services_read_and_the_manifests_have() {
    let compose: Value = serde_saphyr::from_str(&read("systems/sample/compose.yaml")).unwrap();
    let services = compose["services"].as_object().unwrap();
    let configuration = read("systems/sample/base/configuration.yaml");
    for (name, text) in dockerfiles().iter().filter(|(name, _)| services.contains_key(*name)) {
        let service = &services[name];
        let (build, port) = (&service["build"], only(text, "EXPOSE"));
        let context = root().join("systems/sample").join(build["context"].as_str().unwrap()).canonicalize().unwrap();
        assert_eq!((context, &build["dockerfile"]), (root(), &Value::from(format!("apps/{name}/Dockerfile"))));
        assert_eq!(service["ports"], serde_json::json!([format!("127.0.0.1:{port}:{port}")]), "{name}");
        assert_eq!(service["environment"]["PORT"], port, "{name}");
        assert_eq!(
            (&service["read_only"], &service["cap_drop"][0]),
            (&Value::from(true), &Value::from("ALL")),
            "{name}"
        );
        let mut sources = String::new();
        for folder in ["src", "src/upstream"].map(|folder| root().join("apps").join(name).join(folder)) {
            let files = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
            sources.extend(files.filter(|path| path.is_file()).map(|path| fs::read_to_string(path).unwrap()));
        }
        let known = |variable: &&str| *variable == "PORT" || sources.contains(&format!("\"{variable}\""));
        let unread: Vec<_> = names(&service["environment"]).filter(|variable| !known(variable)).collect();
        assert!(unread.is_empty(), "{name} does not read {unread:?}");
    }
    let of_cluster: Vec<Value> = serde_saphyr::from_multiple(&configuration).unwrap();
    let sample = of_cluster.iter().filter(|object| object["metadata"]["name"] == "sample");
    let sample: BTreeSet<&str> = sample.flat_map(|o| names(&o["data"]).chain(names(&o["stringData"]))).collect();
    // A cluster's proxies and levels of logs are its own.
    let missing = sample.iter().filter(|name| !["LOG_LEVEL", "TRUSTED_PROXIES"].contains(*name));
    let missing: Vec<_> = missing.filter(|name| services["sample"]["environment"].get(**name).is_none()).collect();
    assert!(missing.is_empty(), "the manifests have, and the Compose file lacks {missing:?}");
}

#[test]
fn what_the_compose_file_waits_for_says_when_it_is_ready_and_has_the_password_it_is_asked_with() {
    let compose: Value = serde_saphyr::from_str(&read("systems/sample/compose.yaml")).unwrap();
    let services = &compose["services"];
    for name in names(&services["sample"]["depends_on"]) {
        assert_eq!(services["sample"]["depends_on"][name]["condition"], "service_healthy");
        assert_eq!(services[name]["healthcheck"]["test"][0], "CMD", "{name}");
        let volume = services[name]["volumes"][0].as_str().unwrap().split(':').next().unwrap().to_owned();
        assert!(compose["volumes"].as_object().unwrap().contains_key(&volume), "{volume}");
    }
    let password = services["postgres"]["environment"]["POSTGRES_PASSWORD"].as_str().unwrap();
    let url = services["sample"]["environment"]["DATABASE_URL"].as_str().unwrap();
    assert_eq!(url, format!("postgres://sample:{password}@postgres/sample"));
}
