//! What an image name stands for: an explicit mapping, then what is built in.

use std::{collections::BTreeMap, path::PathBuf};

use crate::runtime::RootFs;

/// A program of this machine (or an unpacked directory) under an image's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostImage {
    /// The container's root file system.
    pub rootfs: RootFs,
    /// The image's entry point; empty when the pod must give a command.
    pub entrypoint: Vec<String>,
    /// The image's default arguments, which a pod's `args` replace.
    pub arguments: Vec<String>,
    /// The image's environment.
    pub env: Vec<(String, String)>,
    /// The image's working directory.
    pub workdir: PathBuf,
}

impl HostImage {
    /// An image that runs this program on a view of the machine's own root; a directory becomes the root itself.
    pub fn program(path: PathBuf) -> Self {
        let image = |rootfs, entrypoint| Self {
            rootfs,
            entrypoint,
            arguments: Vec::new(),
            env: Vec::new(),
            workdir: PathBuf::from("/"),
        };
        if path.is_dir() {
            return image(RootFs::Directory(path), Vec::new());
        }
        let path = std::path::absolute(&path).unwrap_or(path);
        image(RootFs::Host, vec![path.to_string_lossy().into_owned()])
    }

    /// Appends fixed arguments to the entry point, in front of whatever `args` a pod gives.
    #[must_use]
    pub fn with_arguments(mut self, arguments: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.entrypoint.extend(arguments.into_iter().map(Into::into));
        self
    }
}

/// The names that are known.
#[derive(Clone, Debug, Default)]
pub struct Images {
    mapped: BTreeMap<String, HostImage>,
    builtin: BTreeMap<String, HostImage>,
}

impl Images {
    /// Adds an image of the binary's own; any registry, path and tag in front of and behind the name match it too.
    pub fn insert_builtin(&mut self, name: impl Into<String>, image: HostImage) {
        self.builtin.insert(name.into(), image);
    }

    /// Maps exactly this name; it wins over everything else.
    pub fn insert(&mut self, name: impl Into<String>, image: HostImage) {
        self.mapped.insert(name.into(), image);
    }

    /// What the name stands for.
    pub fn resolve(&self, name: &str) -> Option<&HostImage> {
        self.mapped.get(name).or_else(|| self.builtin.get(short_name(name)))
    }
}

/// `hello` of `ghcr.io/x/hello:1.0@sha256:…`.
fn short_name(name: &str) -> &str {
    let name = name.split('@').next().unwrap_or(name);
    let last = name.rsplit('/').next().unwrap_or(name);
    last.split(':').next().unwrap_or(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_wins_over_a_built_in_image_of_the_same_name() {
        let mut images = Images::default();
        images.insert_builtin("hello", HostImage::program("/self".into()).with_arguments(["hello"]));
        images.insert("ghcr.io/x/hello:2", HostImage::program("/opt/hello".into()).with_arguments(["--fast"]));
        assert_eq!(images.resolve("ghcr.io/x/hello:1.0").unwrap().entrypoint, ["/self", "hello"]);
        assert_eq!(images.resolve("ghcr.io/x/hello:2").unwrap().entrypoint, ["/opt/hello", "--fast"]);
        assert!(images.resolve("nginx").is_none());
    }
}
