//! The cluster's API server, as others come to it.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::kubectl;

/// Its address on the cluster's network, as loopback is never proxied.
///
/// # Errors
/// When it is not known, or loopback.
pub fn beyond_loopback() -> Result<String> {
    let path = "jsonpath={.subsets[0].addresses[0].ip}:{.subsets[0].ports[0].port}";
    let address = kubectl(&["get", "endpoints", "kubernetes", "-n", "default", "-o", path])?;
    ensure!(!address.starts_with("127."), "{address} is loopback");
    Ok(format!("https://{address}"))
}

/// Waits until a user may do this, as `kubectl auth can-i` puts it: the API server hears
/// of a new binding after a moment.
///
/// # Errors
/// When the user never may.
pub fn wait_until_allowed(user: &str, what: &[&str]) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    let asked = [&["auth", "can-i", "--as", user], what].concat();
    while let Err(error) = kubectl(&asked) {
        ensure!(Instant::now() < deadline, "{user}: {error:#}");
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// A certificate NAME.crt that nobody vouches for, over if `days` is negative, and
/// its key NAME.key.
///
/// # Errors
/// When openssl(1) fails.
pub fn certificate(folder: &Path, name: &str, days: &str) -> Result<()> {
    let script = "echo subjectAltName=DNS:nobody > $1.ext; openssl req -new -newkey ed25519 -nodes -subj /CN=nobody -keyout $1.key |
        openssl x509 -req -signkey $1.key -extfile $1.ext -days $2 -out $1.crt";
    let path = folder.join(name);
    let args = ["-ec", script, "sh", path.to_str().context("text")?, days];
    let output = Command::new("sh").args(args).output()?;
    ensure!(output.status.success(), "{output:?}");
    Ok(())
}
