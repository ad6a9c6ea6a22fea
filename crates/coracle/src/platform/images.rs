//! What image names stand for: what the settings say first, then what is built in.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::Context;
use node::{
    images::{HostImage, Images},
    runtime::RootFs,
};
use serde::Deserialize;

use crate::{apps, config::Config};

/// An image of the file, in the words of an image's own configuration.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Entry {
    /// The directory that is its root; without one it is the machine's own root.
    rootfs: Option<PathBuf>,
    /// The entry point, which a pod's `command` replaces.
    command: Vec<String>,
    /// The default arguments, which a pod's `args` replace.
    args: Vec<String>,
    env: BTreeMap<String, String>,
    workdir: Option<PathBuf>,
}

/// The images of one run.
///
/// # Errors
/// When the file of `--images` cannot be read or is not as it should be.
pub fn load(config: &Config) -> anyhow::Result<Images> {
    let mut images = Images::default();
    let exe = std::env::current_exe().context("find this program's own file")?;
    for (name, arguments) in apps::images() {
        images.insert_builtin(name, HostImage::program(exe.clone()).with_arguments(arguments));
    }
    if let Some(path) = &config.images {
        let what = || format!("images of {}", path.display());
        let path = std::path::absolute(path).with_context(what)?;
        let text = std::fs::read_to_string(&path).with_context(what)?;
        for (name, image) in parse(&text, path.parent().unwrap_or(&path)).with_context(what)? {
            images.insert(name, image);
        }
    }
    for (name, path) in &config.image {
        images.insert(name, HostImage::program(path.clone()));
    }
    Ok(images)
}

/// The images of a file's text; its relative paths begin at `base`.
fn parse(text: &str, base: &Path) -> anyhow::Result<Vec<(String, HostImage)>> {
    let entries: BTreeMap<String, Entry> = serde_saphyr::from_str(text)?;
    let image = |(name, entry): (String, Entry)| {
        let rootfs = match entry.rootfs {
            Some(path) => {
                let path = base.join(path);
                anyhow::ensure!(path.is_dir(), "{name}: the rootfs {} is not a directory", path.display());
                RootFs::Directory(path)
            }
            None => RootFs::Host,
        };
        let mut entrypoint = entry.command;
        // `./serve` is beside the file; `python3` is looked for in PATH.
        if let (RootFs::Host, Some(program)) = (&rootfs, entrypoint.first_mut())
            && program.contains('/')
        {
            *program = base.join(&*program).to_string_lossy().into_owned();
        }
        let workdir = entry.workdir.unwrap_or_else(|| PathBuf::from("/"));
        anyhow::ensure!(workdir.is_absolute(), "{name}: the workdir {} is not absolute", workdir.display());
        let env = entry.env.into_iter().collect();
        Ok((name, HostImage { rootfs, entrypoint, arguments: entry.args, env, workdir }))
    };
    entries.into_iter().map(image).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_of_the_file_has_what_an_images_configuration_has() {
        let text = "
            ghcr.io/a/api:1:
              command: [./serve, --fast]
              args: [--port, '80']
              env: {A: b}
              workdir: /srv
            tools: {rootfs: /usr, command: [bin/env]}
            python: {command: [python3]}
        ";
        let images = parse(text, Path::new("/base")).unwrap();
        let of = |name: &str| images.iter().find(|(n, _)| n == name).map(|(_, image)| image).unwrap();
        let api = of("ghcr.io/a/api:1");
        assert_eq!(api.entrypoint, ["/base/./serve", "--fast"]);
        assert_eq!(api.arguments, ["--port", "80"]);
        assert_eq!(
            (api.env.as_slice(), api.workdir.as_path()),
            (&[("A".to_owned(), "b".to_owned())][..], Path::new("/srv"))
        );
        assert_eq!(
            (&of("tools").rootfs, &of("tools").entrypoint[0]),
            (&RootFs::Directory("/usr".into()), &"bin/env".to_owned())
        );
        assert_eq!(of("python").entrypoint, ["python3"]);
    }

    #[test]
    fn a_mistake_is_named() {
        for (text, word) in [
            ("a: {comand: [x]}", "comand"),
            ("a: {rootfs: no/such/dir}", "/no/such/dir"),
            ("a: {workdir: b}", "workdir"),
        ] {
            let error = format!("{:#}", parse(text, Path::new("/")).unwrap_err());
            assert!(error.contains(word), "{error}");
        }
    }
}
