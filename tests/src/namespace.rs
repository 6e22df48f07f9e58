//! Namespaces of a test's own, gone with it.

use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, ensure};

use crate::{cluster, kubectl};

/// How long deleted pods may take to go.
const LIMIT: Duration = Duration::from_secs(120);

/// How long helpers are offered to new sessions, in seconds since 1970: sessions have
/// others in the next such span.
const OFFERED: u64 = 6 * 3600;
/// More seconds than a test takes that counts helpers.
const NEARLY_OVER: u64 = 120;

/// A namespace that exists as long as this does.
pub struct Namespace(String);

impl Namespace {
    /// Makes a namespace with a new name, and with this level of Pod Security.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub fn create(purpose: &str, pod_security: &str) -> Result<Self> {
        // Of this process and moment: an earlier run's may still be terminating.
        let now = SystemTime::UNIX_EPOCH.elapsed()?.subsec_nanos();
        let name = format!("test-{purpose}-{}-{now}", std::process::id());
        cluster::apply(&format!(
            "{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}, labels: \
             {{pod-security.kubernetes.io/enforce: {pod_security}}}}}}}"
        ))?;
        let namespace = Self(name);
        // Without its service account, which is made a moment later, it takes no pods.
        let made = ["--for=create", "--timeout=120s", "serviceaccount/default"];
        kubectl(&[&["wait", "-n", &namespace.0], &made[..]].concat())?;
        Ok(namespace)
    }

    /// For helpers; not at the end of the time for which they are offered.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub fn for_helpers(purpose: &str) -> Result<Self> {
        let left = OFFERED - SystemTime::UNIX_EPOCH.elapsed()?.as_secs() % OFFERED;
        if left < NEARLY_OVER {
            sleep(Duration::from_secs(left));
        }
        Self::create(purpose, "privileged")
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// A token of its own service account.
    ///
    /// # Errors
    /// When there is none.
    pub fn token(&self) -> Result<String> {
        let token = kubectl(&["create", "token", "default", "-n", &self.0])?;
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
            sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // A failed test has said why already.
        let _gone = kubectl(&["delete", "namespace", &self.0, "--wait=false"]);
    }
}
