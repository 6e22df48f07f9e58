//! What `-f FILE` names: one object, as a YAML or JSON file describes it.

use std::io::Read as _;
use std::path::Path;

use serde::Deserialize;
use thiserror::Error;

use crate::cli::Cli;
use crate::report::first_line;
use crate::target::Kind;

/// Why a file names nothing to enter.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// An address where a file belongs.
    #[error("cannot read {0}: kpexec takes files, and no URLs")]
    Url(String),
    /// There is no such file, say.
    #[error("cannot read {file}")]
    Read {
        /// Its name.
        file: String,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// Neither YAML nor JSON, or of no object.
    #[error("{file} describes no object: {why}")]
    Parse {
        /// Its name.
        file: String,
        /// What is wrong, without the file's own lines.
        why: String,
    },
    /// More than one, or none; kubectl's words.
    #[error("cannot exec into multiple objects at a time; {file} has {count}")]
    NotOne {
        /// Its name.
        file: String,
        /// How many it has.
        count: usize,
    },
    /// Of a type without pods.
    #[error("{file} describes a {kind} of {version}, which has no pods as far as kpexec knows")]
    NoPods {
        /// Its name.
        file: String,
        /// The object's type.
        kind: String,
        /// Its group and version.
        version: String,
    },
    /// `-n` names another namespace; kubectl's words.
    #[error(
        "the namespace from the provided object {of_file:?} does not match the namespace {given:?}"
    )]
    OtherNamespace {
        /// The file's.
        of_file: String,
        /// The flag's.
        given: String,
    },
}

impl ManifestError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Url(url) => Some(format!("curl -fsS {url} | kpexec -f - -- CMD")),
            Self::NotOne { count: 0, .. } => None,
            Self::NotOne { .. } => Some("name the one you mean: TYPE/NAME".into()),
            Self::NoPods { .. } => Some(format!("types are {}", Kind::list())),
            Self::OtherNamespace { of_file, .. } => {
                Some(format!("leave out -n, or give -n {of_file}"))
            }
            Self::Read { .. } => Some("-f takes a file that you can read, or - for stdin".into()),
            Self::Parse { .. } => None,
        }
    }
}

/// Has `cli` name what its file names, if it has one.
pub fn read_into(cli: &mut Cli) -> Result<(), ManifestError> {
    let Some(path) = cli.object.filename.as_deref() else { return Ok(()) };
    let (file, text) = read(path)?;
    let object = only_object(&file, &text)?;
    let Header { kind, version, metadata, .. } = object;
    let Some(known) = Kind::of_manifest(&kind, &version) else {
        return Err(ManifestError::NoPods { file, kind, version });
    };
    let of_file = metadata.namespace.filter(|name| !name.is_empty());
    match (of_file, &cli.namespace) {
        (Some(of_file), Some(given)) if of_file != *given => {
            return Err(ManifestError::OtherNamespace { of_file, given: given.clone() });
        }
        (Some(of_file), None) => cli.namespace = Some(of_file),
        _ => {}
    }
    let typed = format!("{}/{}", known.name, metadata.name);
    cli.object.filed = Some(format!("{}/{typed}", cli.namespace.as_deref().unwrap_or_default()));
    cli.pod = Some(typed);
    Ok(())
}

/// The file's name, for people, and what is in it.
fn read(path: &Path) -> Result<(String, String), ManifestError> {
    let file = path.display().to_string();
    if file.starts_with("http://") || file.starts_with("https://") {
        return Err(ManifestError::Url(file));
    }
    let (file, text) = if file == "-" {
        let mut text = String::new();
        let read = std::io::stdin().lock().read_to_string(&mut text);
        ("stdin".to_owned(), read.map(|_| text))
    } else {
        (file, std::fs::read_to_string(path))
    };
    match text {
        Ok(text) => Ok((file, text)),
        Err(source) => Err(ManifestError::Read { file, source }),
    }
}

/// What is of interest of an object, or of a list of objects.
#[derive(Debug, Deserialize)]
struct Header {
    kind: String,
    #[serde(rename = "apiVersion")]
    version: String,
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    items: Vec<Header>,
}

#[derive(Debug, Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    name: String,
    namespace: Option<String>,
}

fn only_object(file: &str, text: &str) -> Result<Header, ManifestError> {
    let failed = |error: serde_saphyr::Error| ManifestError::Parse {
        file: file.to_owned(),
        why: first_line(&error.to_string()),
    };
    // Nearly all JSON is YAML, but not that with tabs.
    let documents: Vec<Option<Header>> = match serde_json::from_str(text) {
        Ok(header) => vec![Some(header)],
        Err(_) => serde_saphyr::from_multiple(text).map_err(failed)?,
    };
    let mut objects: Vec<Header> = documents
        .into_iter()
        .flatten()
        .flat_map(|one| if one.kind == "List" { one.items } else { vec![one] })
        .collect();
    match objects.pop() {
        Some(object) if objects.is_empty() => Ok(object),
        last => {
            let count = objects.len() + usize::from(last.is_some());
            Err(ManifestError::NotOne { file: file.to_owned(), count })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEPLOYMENT: &str = "
# A comment.
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: prod, labels: {a: b}}
spec: {replicas: 2}
";

    fn told(flags: &str, text: &str) -> Result<(Option<String>, String, String), ManifestError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let args = format!("kpexec {flags} -f {} -- id", file.path().display());
        let mut cli = Cli::parse_args(args.split_whitespace().map(Into::into)).unwrap();
        read_into(&mut cli)?;
        Ok((cli.namespace, cli.pod.unwrap(), cli.object.filed.unwrap()))
    }

    fn refusal(flags: &str, text: &str) -> String {
        told(flags, text).unwrap_err().to_string()
    }

    #[test]
    fn a_file_names_its_object() {
        let wanted = |namespace: Option<&str>, typed: &str| {
            let filed = format!("{}/{typed}", namespace.unwrap_or_default());
            (namespace.map(str::to_owned), typed.to_owned(), filed)
        };
        let web = wanted(Some("prod"), "deployment/web");
        assert_eq!(told("", DEPLOYMENT).unwrap(), web);
        assert_eq!(told("-n prod", DEPLOYMENT).unwrap(), web);
        assert_eq!(told("", &format!("---\n{DEPLOYMENT}\n---\n# nothing\n")).unwrap(), web);
        let pod =
            "{\n\t\"kind\": \"Pod\", \"apiVersion\": \"v1\",\n\t\"metadata\": {\"name\": \"a\"}}";
        assert_eq!(told("", pod).unwrap(), wanted(None, "pod/a"));
        assert_eq!(told("-n ops", pod).unwrap(), wanted(Some("ops"), "pod/a"));
        let list = format!("{{\"kind\": \"List\", \"apiVersion\": \"v1\", \"items\": [{pod}]}}");
        assert_eq!(told("", &list).unwrap(), wanted(None, "pod/a"));
    }

    #[test]
    fn another_namespace_is_answered_in_kubectls_words() {
        let text =
            "the namespace from the provided object \"prod\" does not match the namespace \"ops\"";
        assert_eq!(refusal("-n ops", DEPLOYMENT), text);
    }

    #[test]
    fn what_is_not_one_object_with_pods_is_refused() {
        let two = format!("{DEPLOYMENT}---\n{DEPLOYMENT}");
        assert!(refusal("", &two).starts_with("cannot exec into multiple objects at a time; "));
        for nothing in ["", "---\n", "{kind: List, apiVersion: v1, items: []}"] {
            assert!(refusal("", nothing).ends_with("has 0"), "{nothing:?}");
        }
        for no_object in ["foo: bar", "- a", ":: {", "\0", "text"] {
            assert!(refusal("", no_object).contains(" describes no object: "), "{no_object:?}");
        }
        let error = told("", "{kind: Namespace, apiVersion: v1, metadata: {name: x}}").unwrap_err();
        assert!(error.to_string().contains("a Namespace of v1"), "{error}");
        assert!(error.hint().unwrap().contains("deployment (deploy)"));
    }

    #[test]
    fn nothing_of_a_file_is_shown_that_is_wrong() {
        use std::error::Error as _;
        for wrong in ["data: {password: hunter2}\n  x: [", "- hunter2: [1\n", "data:\n\tp: hunter2"]
        {
            let text = format!("apiVersion: v1\nkind: Secret\n{wrong}\n");
            let error = told("", &text).unwrap_err();
            let said = error.to_string();
            assert!(error.source().is_none(), "{error:?}");
            assert!(!said.contains('\n') && !said.contains("hunter2"), "{said}");
            assert!(said.contains("line ") && !said.contains("error: "), "{said}");
        }
    }

    #[test]
    fn a_url_is_no_file() {
        let args = ["kpexec", "-f", "https://example.com/x.yaml", "--", "id"].map(Into::into);
        let error = read_into(&mut Cli::parse_args(args).unwrap()).unwrap_err();
        assert!(error.hint().unwrap().starts_with("curl -fsS https://example.com/x.yaml | "));
    }
}
