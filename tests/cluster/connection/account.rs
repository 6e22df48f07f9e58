//! Somebody who may use kpexec and nothing else, and where the API server is.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use serde_json::{Value, json};
use tests::api_server::wait_until_allowed;
use tests::command::kpexec;
use tests::{Namespace, cluster, kubectl};

/// What users are told to bind.
const ROLES: &str = include_str!("../../../manifests/rbac.yaml");

/// A service account in a namespace of its own, which is for its helpers as well.
pub struct Account {
    namespace: Namespace,
    folder: tempfile::TempDir,
    /// Address of the API server.
    pub server: String,
    /// Its token.
    pub token: String,
}

impl Account {
    /// Makes it, with the rights that the project's own roles give.
    pub fn create(purpose: &str) -> Result<Self> {
        let namespace = Namespace::for_helpers(purpose)?;
        let path = "jsonpath={.clusters[0].cluster.server}";
        let server = kubectl(&["config", "view", "--raw", "--minify", "-o", path])?;
        let folder = tempfile::tempdir()?;
        let ca =
            kubectl(&["get", "configmap", "kube-root-ca.crt", "-o", r"jsonpath={.data.ca\.crt}"])?;
        std::fs::write(folder.path().join("ca.crt"), ca)?;
        let mut account = Self { namespace, folder, server, token: String::new() };
        let name = account.namespace().to_owned();
        kubectl(&["create", "serviceaccount", "walker", "-n", &name])?;
        let roles = ROLES.replace("name: kpexec-target", &format!("name: {name}"));
        cluster::apply(&roles.replace("namespace: kpexec", &format!("namespace: {name}")))?;
        let walker = format!("--serviceaccount={name}:walker");
        let role = format!("--clusterrole={name}");
        kubectl(&["create", "clusterrolebinding", &name, &role, &walker])?;
        let role = "--role=kpexec-operator";
        kubectl(&["create", "rolebinding", "walker", "-n", &name, role, &walker])?;
        wait_until_allowed(&account.user(), &["get", "nodes"])?;
        wait_until_allowed(&account.user(), &["create", "pods", "-n", &name])?;
        account.token = kubectl(&["create", "token", "walker", "-n", &name])?.trim().to_owned();
        Ok(account)
    }

    /// Its namespace.
    pub fn namespace(&self) -> &str {
        self.namespace.name()
    }

    /// Its name, as the API server has it.
    pub fn user(&self) -> String {
        format!("system:serviceaccount:{}:walker", self.namespace())
    }

    /// The test's folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A file of the test's, by name.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What the hint of a refusal says.
    pub fn allow_to_act_as_others(&self) -> Result<()> {
        let name = format!("{}-acting", self.namespace());
        let resources = "--resource=users,groups,serviceaccounts";
        let whom = "--resource-name=bob";
        kubectl(&["create", "clusterrole", &name, "--verb=impersonate", resources, whom])?;
        let account = format!("--serviceaccount={}:walker", self.namespace());
        let role = format!("--clusterrole={name}");
        kubectl(&["create", "clusterrolebinding", &name, &role, &account]).map(drop)
    }

    /// The helper pods that there are.
    pub fn helpers(&self) -> Result<usize> {
        Ok(self.namespace.pods()?.lines().count())
    }

    /// kpexec that runs `id -u` in a container by a helper of this namespace; FILE/
    /// is the test's folder.
    pub fn id(&self, flags: &[&str]) -> Command {
        let folder = format!("{}/", self.folder.path().display());
        let flags: Vec<String> = flags.iter().map(|flag| flag.replace("FILE/", &folder)).collect();
        let mut all = vec!["--helper-namespace", self.namespace()];
        all.extend(flags.iter().map(String::as_str));
        all.extend(["distroless", "--", "id", "-u"]);
        let mut command = kpexec(&all);
        for name in
            ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy"]
        {
            command.env_remove(name);
        }
        command
    }

    /// The same without a kubeconfig.
    pub fn bare(&self, flags: &[&str]) -> Command {
        let mut command = self.id(flags);
        command.env("KUBECONFIG", self.file("nonexistent"));
        command
    }

    /// Writes a kubeconfig of one context, with these for cluster and user.
    pub fn kubeconfig(&self, cluster: &Value, user: &Value) -> Result<PathBuf> {
        let mut all = json!({
            "server": self.server,
            "certificate-authority": "ca.crt",
        });
        let (Some(all), Some(more)) = (all.as_object_mut(), cluster.as_object()) else {
            anyhow::bail!("no objects")
        };
        all.extend(more.clone());
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "a",
            "clusters": [{"name": "a", "cluster": all}],
            "users": [{"name": "a", "user": user}],
            "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        });
        let path = self.file("kubeconfig");
        std::fs::write(&path, config.to_string())?;
        Ok(path)
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let acting = format!("{}-acting", self.namespace());
        let names = ["delete", "clusterrolebinding,clusterrole", "--ignore-not-found"];
        // A failed test has said why already.
        let _gone = kubectl(&[&names[..], &[self.namespace(), &acting]].concat());
    }
}
