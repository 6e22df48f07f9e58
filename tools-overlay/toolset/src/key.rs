//! What a built tree depends on, as a digest: the name of its folder in the
//! cache.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use sha2::{Digest as _, Sha256};

use crate::Profile;
use crate::program::output;
use crate::stage::files_below;

/// Lower-case hexadecimal.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The key of a profile: this crate (rules, recipes and lock files are in it)
/// and the programs that write parts of the tree.
pub fn key(profile: Profile) -> Result<String> {
    let mut all = Sha256::new();
    let mut add = |label: &str, content: &[u8]| {
        all.update(format!("{label} {}\n", content.len()));
        all.update(content);
    };
    add("profile", profile.name().as_bytes());
    let crate_folder = source();
    let files = files_below(crate_folder)?;
    for path in files.iter().filter(|path| !path.starts_with("tests/")) {
        add(path, &fs::read(crate_folder.join(path))?);
    }
    add("LICENSE", include_bytes!("../../../LICENSE"));
    for program in ["patchelf", "gcc"] {
        let version = output(Command::new(program).arg("--version"))
            .context("`cargo xtask setup` installs it")?;
        add(program, version.as_bytes());
    }
    Ok(hexadecimal(&all.finalize())[..16].to_owned())
}

/// The folder of this crate in the checkout.
pub fn source() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
