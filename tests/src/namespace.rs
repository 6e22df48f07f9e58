//! Namespaces of a test's own, gone with it.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::{cluster, kubectl};

/// How long deleted pods may take to go.
const LIMIT: Duration = Duration::from_secs(30);

/// A namespace that exists as long as this does.
pub struct Namespace(String);

impl Namespace {
    /// Makes a namespace with a new name, and with this level of Pod Security.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub fn create(purpose: &str, pod_security: &str) -> Result<Self> {
        // Of this process and moment: an earlier run's may still be terminating.
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed()?.subsec_nanos();
        let name = format!("test-{purpose}-{}-{now}", std::process::id());
        cluster::apply(&format!(
            "{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}, labels: \
             {{pod-security.kubernetes.io/enforce: {pod_security}}}}}}}"
        ))?;
        Ok(Self(name))
    }

    /// For helpers.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub fn for_helpers(purpose: &str) -> Result<Self> {
        Self::create(purpose, "privileged")
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// A token of its own service account, which is made a moment after it.
    ///
    /// # Errors
    /// When there is none.
    pub fn token(&self) -> Result<String> {
        let in_it = ["-n", &self.0];
        let made = ["--for=create", "--timeout=30s", "serviceaccount/default"];
        kubectl(&[&["wait"][..], &in_it, &made].concat())?;
        let token = kubectl(&[&["create", "token", "default"][..], &in_it].concat())?;
        Ok(token.trim().to_owned())
    }

    /// The pods in it.
    ///
    /// # Errors
    /// When kubectl fails.
    pub fn pods(&self) -> Result<String> {
        kubectl(&["get", "pods", "-n", &self.0, "-o", "name"])
    }

    /// Waits until no pod is in it.
    ///
    /// # Errors
    /// When one stays.
    pub fn wait_until_empty(&self) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let pods = self.pods()?;
            if pods.is_empty() {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "left behind: {pods}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // A failed test has said why already.
        let _gone = kubectl(&["delete", "namespace", &self.0, "--wait=false"]);
    }
}
