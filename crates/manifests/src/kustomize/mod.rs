//! Kustomize builds: the objects that `kubectl kustomize` would print, in its order.
//!
//! A build reads a kustomization and those it leads to (`Root` says what may be read), gathers their resources bottom-up, and
//! at each level runs the transformations in kustomize's fixed order. What changes the whole (hashes, references, order) comes
//! last, once.

mod config;
mod defaults;
mod fieldspec;
mod file;
mod generators;
mod id;
mod images;
mod limits;
mod loader;
mod marks;
mod merge;
mod order;
mod patches;
mod path;
mod read;
mod references;
mod replacements;
mod resource;
mod schema;
mod transform;

use std::path::Path;

use crate::{Object, error::Error, yaml};
use config::Config;
use file::{Kind, Kustomization};
use loader::Root;
use resource::{Resource, Resources};

/// Objects with this annotation (unless it says `false`) are for tools and leave the build.
const LOCAL: &str = "config.kubernetes.io/local-config";

/// The objects of the kustomization in a folder, as `kubectl kustomize` prints them: the same content in the same order.
///
/// # Errors
/// Names the file and its line or field, and says why: broken YAML, unknown fields, missing files or objects, and whatever is
/// refused (remote resources, plugins, charts, files outside of the kustomization's folder).
pub fn build(folder: &Path) -> Result<Vec<Object>, Error> {
    let root = Root::open(folder)?;
    let (kustomization, kind) = read(&root)?;
    if kind == Kind::Component {
        return Err(Error::kustomization(
            root.file(),
            "kind",
            "a Component is not built by itself: name it in components",
        ));
    }
    let sort_options = kustomization.sort_options.clone();
    let file = root.file();
    let at = |field| move |reason: String| Error::kustomization(file, field, reason);
    let mut builder = Builder { kustomizations: 0 };
    let mut all = builder.gather(&root, kustomization, Gathered::default())?;
    generators::add_hashes(&mut all.resources);
    references::fix(&mut all.resources, &all.config).map_err(at("resources"))?;
    all.resources.0.retain(|resource| resource.texts("annotations").get(LOCAL).is_none_or(|local| local == "false"));
    all.resources.check().map_err(at("resources"))?;
    order::sort(&mut all.resources.0, sort_options.as_ref()).map_err(at("sortOptions"))?;
    let finished = all.resources.0.into_iter().map(Resource::finish);
    Ok(finished.map(|(value, source)| Object { value, source, line: None }).collect())
}

fn read(root: &Root) -> Result<(Kustomization, Kind), Error> {
    let text = crate::load::read(root.file())?;
    Kustomization::parse(&text, root.file())
}

/// What a kustomization comes to.
#[derive(Default)]
struct Gathered {
    resources: Resources,
    config: Config,
}

impl Gathered {
    fn add(&mut self, more: Vec<Resource>) -> Result<(), String> {
        if self.resources.0.len() + more.len() > limits::OBJECTS {
            return Err(format!("the build has more than {} objects", limits::OBJECTS));
        }
        self.resources.0.extend(more);
        Ok(())
    }
}

struct Builder {
    /// How many have been read.
    kustomizations: usize,
}

impl Builder {
    /// The resources of a kustomization, transformed. A component works on those of the kustomization that names it, which are
    /// given; others start from nothing.
    fn gather(&mut self, root: &Root, this: Kustomization, mut all: Gathered) -> Result<Gathered, Error> {
        self.kustomizations += 1;
        if self.kustomizations > limits::KUSTOMIZATIONS || root.depth() > limits::DEPTH {
            return Err(Error::read(root.file(), "too many kustomizations lead to one another"));
        }
        for path in &this.resources {
            self.resource(root, path, &mut all)?;
        }
        let at = |field| move |reason: String| Error::kustomization(root.file(), field, reason);
        all.resources.check().map_err(at("resources"))?;
        let mut config = Config::built_in();
        for path in &this.configurations {
            let own: Config = file::parse(&root.text(path)?, &root.show(path))?;
            config.merge(&own).map_err(at("configurations"))?;
        }
        all.config.merge(&config).map_err(at("configurations"))?;
        for (field, kind, list) in [
            ("configMapGenerator", generators::Kind::ConfigMap, &this.config_map_generator),
            ("secretGenerator", generators::Kind::Secret, &this.secret_generator),
        ] {
            for generator in list {
                generators::generate(&mut all.resources, kind, generator, &this.generator_options, root)
                    .map_err(at(field))?;
            }
        }
        for path in &this.components {
            let folder = root.folder(path)?;
            let (component, kind) = read(&folder)?;
            if kind != Kind::Component {
                return Err(Error::kustomization(folder.file(), "kind", "what components names must be a Component"));
            }
            all = self.gather(&folder, component, all)?;
        }
        transform(&this, root, &mut all)?;
        Ok(all)
    }

    fn resource(&mut self, root: &Root, path: &str, all: &mut Gathered) -> Result<(), Error> {
        let at = |reason| Error::kustomization(root.file(), "resources", reason);
        if !root.is_folder(path) {
            let objects = read::objects(&root.text(path)?, &root.show(path))?;
            return all.add(objects).map_err(at);
        }
        let folder = root.folder(path)?;
        let (kustomization, kind) = read(&folder)?;
        if kind == Kind::Component {
            return Err(Error::kustomization(
                folder.file(),
                "kind",
                "a Component is named in components, not resources",
            ));
        }
        let sub = self.gather(&folder, kustomization, Gathered::default())?;
        all.add(sub.resources.0).map_err(at)?;
        all.config.merge(&sub.config).map_err(at)
    }
}

/// The transformations of one kustomization, in the order in which kustomize runs them.
fn transform(this: &Kustomization, root: &Root, all: &mut Gathered) -> Result<(), Error> {
    let at = |field| move |reason: String| Error::kustomization(root.file(), field, reason);
    let Gathered { resources, config } = all;
    for entry in &this.patches_strategic_merge {
        patches::apply_strategic(resources, entry, root).map_err(at("patchesStrategicMerge"))?;
    }
    for patch in &this.patches {
        patches::apply(resources, patch, root).map_err(at("patches"))?;
    }
    if !this.namespace.is_empty() {
        transform::namespace(resources, &this.namespace, config).map_err(at("namespace"))?;
    }
    for (field, text, end, specs) in [
        ("namePrefix", &this.name_prefix, transform::End::Prefix, &config.name_prefix),
        ("nameSuffix", &this.name_suffix, transform::End::Suffix, &config.name_suffix),
    ] {
        if !text.is_empty() {
            transform::affix(resources, text, end, specs).map_err(at(field))?;
        }
    }
    for labels in &this.labels {
        transform::labels(resources, labels, config).map_err(at("labels"))?;
    }
    transform::entries(resources, &this.common_labels, &config.common_labels).map_err(at("commonLabels"))?;
    transform::entries(resources, &this.common_annotations, &config.common_annotations)
        .map_err(at("commonAnnotations"))?;
    for patch in &this.patches_json6902 {
        patches::apply_operations(resources, patch, root).map_err(at("patchesJson6902"))?;
    }
    for replica in &this.replicas {
        transform::replicas(resources, replica, config).map_err(at("replicas"))?;
    }
    for image in &this.images {
        images::change(resources, image, config).map_err(at("images"))?;
    }
    for entry in &this.replacements {
        for replacement in replacements_of(entry, root)? {
            replacements::replace(resources, &replacement).map_err(at("replacements"))?;
        }
    }
    Ok(())
}

/// An entry of `replacements`, or those in the file that it names.
fn replacements_of(entry: &replacements::Replacement, root: &Root) -> Result<Vec<replacements::Replacement>, Error> {
    if entry.path.is_empty() {
        return Ok(vec![entry.clone()]);
    }
    if entry.source.is_some() || entry.targets.is_some() {
        let reason = format!("{}: an entry is either a path or a replacement", entry.path);
        return Err(Error::kustomization(root.file(), "replacements", reason));
    }
    let (text, shown) = (root.text(&entry.path)?, root.show(&entry.path));
    let is_list = yaml::documents(&text, yaml::Dialect::Kubectl)
        .is_ok_and(|documents| documents.iter().any(|document| document.value.is_array()));
    if is_list { file::parse(&text, &shown) } else { Ok(vec![file::parse(&text, &shown)?]) }
}
