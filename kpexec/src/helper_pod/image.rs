//! Which image the helper is made of: the toolset is part of it. Pure.

use thiserror::Error;

use crate::cli::Toolset;

/// Why there is no image to make a helper of.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ImageError {
    /// Neither flag, nor variable, nor release names one.
    #[error("no helper image is configured")]
    None,
    /// A digest is one image; of its sisters it says nothing.
    #[error("no helper image with the {toolset} toolset is known: {image} is named by its digest")]
    Pinned {
        /// The toolset asked for.
        toolset: &'static str,
        /// The image known.
        image: String,
        /// The variable that would name it.
        variable: &'static str,
    },
}

impl ImageError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::None => "name it with --helper-image or KPEXEC_HELPER_IMAGE".into(),
            Self::Pinned { variable, .. } => format!("name it with {variable}"),
        }
    }
}

/// The image with this toolset. `image` is the standard one, from wherever it
/// is known; `set` is what the user has set of others.
pub fn helper_image(
    toolset: Toolset,
    image: Option<&str>,
    set: impl Fn(&str) -> Option<String>,
) -> Result<String, ImageError> {
    let image = || image.filter(|image| !image.is_empty()).ok_or(ImageError::None);
    let (toolset, key, variable) = match toolset {
        Toolset::Standard => return image().map(str::to_owned),
        Toolset::Minimal => ("minimal", "helper-image-minimal", "KPEXEC_HELPER_IMAGE_MINIMAL"),
        Toolset::Full => ("full", "helper-image-full", "KPEXEC_HELPER_IMAGE_FULL"),
    };
    if let Some(named) = set(key).filter(|named| !named.is_empty()) {
        return Ok(named);
    }
    let image = image()?;
    match with_tag(image, toolset) {
        Some(sister) => Ok(sister),
        None => Err(ImageError::Pinned { toolset, image: image.to_owned(), variable }),
    }
}

/// `REPO:TAG` becomes `REPO:TAG-toolset`. A colon before the last slash belongs
/// to a port; without a tag it is `latest`, as to every runtime.
fn with_tag(image: &str, toolset: &str) -> Option<String> {
    if image.contains('@') {
        return None;
    }
    let name = image.rsplit('/').next().unwrap_or(image);
    let tag = if name.contains(':') { "" } else { ":latest" };
    Some(format!("{image}{tag}-{toolset}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none(_: &str) -> Option<String> {
        None
    }

    fn image(toolset: Toolset, image: &str) -> Result<String, ImageError> {
        helper_image(toolset, Some(image), none)
    }

    #[test]
    fn the_standard_image_is_as_it_was_named() {
        for name in ["r.test/helper:1", "helper", "r.test:5000/helper@sha256:00"] {
            assert_eq!(image(Toolset::Standard, name).unwrap(), name);
        }
    }

    #[test]
    fn the_others_differ_by_their_tags() {
        for (standard, minimal) in [
            ("r.test/helper:1", "r.test/helper:1-minimal"),
            ("r.test:5000/kpexec/helper", "r.test:5000/kpexec/helper:latest-minimal"),
            ("helper", "helper:latest-minimal"),
            ("localhost:5000/helper:v1", "localhost:5000/helper:v1-minimal"),
        ] {
            assert_eq!(image(Toolset::Minimal, standard).unwrap(), minimal);
        }
        assert_eq!(image(Toolset::Full, "helper:1").unwrap(), "helper:1-full");
    }

    #[test]
    fn a_digest_names_one_image_only() {
        for name in ["r.test/helper@sha256:00", "r.test/helper:1@sha256:00"] {
            let error = image(Toolset::Full, name).unwrap_err();
            assert_eq!(error.hint(), "name it with KPEXEC_HELPER_IMAGE_FULL");
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn one_that_is_set_for_it_comes_first() {
        let set = |key: &str| (key == "helper-image-full").then(|| "mine".to_owned());
        let of = |toolset, image| helper_image(toolset, image, set);
        assert_eq!(of(Toolset::Full, Some("h:1")).unwrap(), "mine");
        assert_eq!(of(Toolset::Full, None).unwrap(), "mine");
        assert_eq!(of(Toolset::Minimal, Some("h:1")).unwrap(), "h:1-minimal");
        let empty = |_: &str| Some(String::new());
        assert_eq!(helper_image(Toolset::Full, Some("h:1"), empty).unwrap(), "h:1-full");
    }

    #[test]
    fn no_image_is_an_error() {
        for toolset in [Toolset::Standard, Toolset::Full] {
            assert_eq!(helper_image(toolset, None, none), Err(ImageError::None));
            assert_eq!(helper_image(toolset, Some(""), none), Err(ImageError::None));
        }
    }
}
