//! What image names stand for: what the flags say first, then what is built in.

use anyhow::Context;
use node::images::{HostImage, Images};

use crate::{apps, config::Config};

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
        let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        images.insert_file(&text).with_context(|| format!("{} is not a list of images", path.display()))?;
    }
    for (name, path) in &config.image {
        images.insert(name, HostImage::program(path.clone()));
    }
    Ok(images)
}
