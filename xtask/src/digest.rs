//! SHA-256 over named inputs: the key of everything that is cached.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest as _, Sha256};

/// A running digest of labelled parts.
#[derive(Default)]
pub struct Inputs(Sha256);

impl Inputs {
    /// Adds one input. Label and length go in too, so that moving a byte from
    /// one input to the next changes the key.
    pub fn add(&mut self, label: &str, content: &[u8]) {
        self.0.update(format!("{label} {}\n", content.len()));
        self.0.update(content);
    }

    /// Adds a file's content under its name.
    pub fn add_file(&mut self, path: &Path) -> Result<()> {
        let content = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.add(&name, &content);
        Ok(())
    }

    /// The digest, in hexadecimal.
    pub fn finish(self) -> String {
        self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The first 12 hexadecimal digits: enough to tell versions apart.
    pub fn finish_short(self) -> String {
        self.finish()[..12].to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(inputs: &[(&str, &[u8])]) -> String {
        let mut all = Inputs::default();
        for (label, content) in inputs {
            all.add(label, content);
        }
        all.finish()
    }

    #[test]
    fn the_key_tells_apart_where_one_input_ends() {
        assert_ne!(key(&[("a", b"xy"), ("b", b"z")]), key(&[("a", b"x"), ("b", b"yz")]));
        assert_eq!(key(&[("a", b"x")]), key(&[("a", b"x")]));
    }

    #[test]
    fn the_short_key_is_the_start_of_the_long_one() {
        assert!(Inputs::default().finish().starts_with(&Inputs::default().finish_short()));
    }
}
