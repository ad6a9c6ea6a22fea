//! `images`: other names, tags and digests for container images.

use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

use super::{
    config::Config,
    fieldspec::{self, Create},
    resource::Resources,
};

/// An entry of `images`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Image {
    /// The image that is changed, as it is written, without tag. A regular expression, though few know.
    name: String,
    new_name: String,
    new_tag: String,
    tag_suffix: String,
    digest: String,
}

/// Changes an image wherever containers are, and in the configured fields.
///
/// # Errors
/// When the name is no regular expression, or an image is not text.
pub(super) fn change(resources: &mut Resources, image: &Image, config: &Config) -> Result<(), String> {
    let pattern = format!("^{}(:[a-zA-Z0-9_.{{}}-]*)?(@sha256:[a-zA-Z0-9_.{{}}-]*)?$", image.name);
    let pattern = Regex::new(&pattern).map_err(|error| format!("{:?} is no usable name: {error}", image.name))?;
    let mut set = |field: &mut Value| set(field, image, &pattern);
    for resource in &mut resources.0 {
        let id = resource.id();
        if id.gvk.kind == "CustomResourceDefinition" {
            continue;
        }
        in_containers(&mut resource.value, &mut set)
            .and_then(|()| {
                let fields = &mut resource.value;
                config.images.iter().try_for_each(|spec| fieldspec::visit(fields, spec, Create::Nothing, &mut set))
            })
            .map_err(|reason| format!("{id}: {reason}"))?;
    }
    Ok(())
}

/// Every `image` in a list that is called `containers` or `initContainers`, however deep.
fn in_containers(value: &mut Value, set: &mut dyn FnMut(&mut Value) -> Result<(), String>) -> Result<(), String> {
    match value {
        Value::Array(items) => items.iter_mut().try_for_each(|item| in_containers(item, set)),
        Value::Object(fields) => fields.iter_mut().try_for_each(|(name, field)| {
            in_containers(field, set)?;
            match field {
                Value::Array(items) if matches!(name.as_str(), "containers" | "initContainers") => {
                    items.iter_mut().filter_map(|item| item.get_mut("image")).try_for_each(&mut *set)
                }
                _ => Ok(()),
            }
        }),
        _ => Ok(()),
    }
}

fn set(field: &mut Value, image: &Image, pattern: &Regex) -> Result<(), String> {
    let old = crate::yaml::text(field).ok_or("an image is not text")?;
    if field.is_null() || !pattern.is_match(&old) {
        return Ok(());
    }
    let (name, mut tag, mut digest) = split(&old);
    match (image.new_tag.as_str(), image.digest.as_str(), image.tag_suffix.as_str()) {
        ("", "", "") => {}
        ("", "", suffix) => (tag, digest) = (format!("{tag}{suffix}"), String::new()),
        (new_tag, new_digest, _) => (tag, digest) = (new_tag.to_owned(), new_digest.to_owned()),
    }
    let mut new = if image.new_name.is_empty() { name } else { image.new_name.clone() };
    for (mark, part) in [(':', tag), ('@', digest)] {
        if !part.is_empty() {
            new.push(mark);
            new.push_str(&part);
        }
    }
    *field = new.into();
    Ok(())
}

/// Name, tag and digest. A `:` before the first `/` belongs to the name: it is the registry's port.
fn split(image: &str) -> (String, String, String) {
    let path = image.find('/').unwrap_or(0);
    let (rest, digest) = match image.get(path..).and_then(|rest| rest.find('@')) {
        Some(at) => image.split_at(path + at),
        None => (image, ""),
    };
    let (name, tag) = match rest.get(path..).and_then(|rest| rest.find(':')) {
        Some(at) => rest.split_at(path + at),
        None => (rest, ""),
    };
    (name.to_owned(), tag.trim_start_matches(':').to_owned(), digest.trim_start_matches('@').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_taken_apart_after_the_registry() {
        let rows = [
            ("nginx", ("nginx", "", "")),
            ("nginx:1.27", ("nginx", "1.27", "")),
            ("localhost:5000/nginx", ("localhost:5000/nginx", "", "")),
            ("localhost:5000/a/nginx:1@sha256:ab", ("localhost:5000/a/nginx", "1", "sha256:ab")),
            ("nginx@sha256:ab", ("nginx", "", "sha256:ab")),
        ];
        for (image, (name, tag, digest)) in rows {
            assert_eq!(split(image), (name.to_owned(), tag.to_owned(), digest.to_owned()), "{image}");
        }
    }
}
