//! The host's side of the cluster: registry, etcd, API server, controller
//! manager, scheduler.

use std::fs;
use std::net::TcpListener;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::cgroup::Cgroups;
use super::launch::Launch;
use super::layout::{self, HOST_ADDRESS, REGISTRY, pki, state};
use super::ready;

/// Ports on the host that must be free, and whose they are.
const PORTS: &[(u16, &str)] = &[(2379, "etcd"), (2380, "etcd"), (6443, "API server")];

/// Fails if somebody else uses a port of the cluster.
pub fn check_ports() -> Result<()> {
    for (port, program) in PORTS {
        if TcpListener::bind(("127.0.0.1", *port)).is_err() {
            bail!(
                "port {port} of 127.0.0.1, the cluster's {program}, is in use by another program"
            );
        }
    }
    Ok(())
}

/// Starts the registry.
pub fn start_registry(cgroups: &Cgroups) -> Result<()> {
    let config = state("registry.yml");
    fs::write(&config, registry_config())?;
    start(cgroups, "registry", &["docker-registry", "serve", &config.display().to_string()])?;
    ready::listens("the registry", "registry", REGISTRY)
}

/// Starts etcd and the API server, without waiting for them.
pub fn start_api(cgroups: &Cgroups) -> Result<()> {
    start_owned(cgroups, "etcd", etcd_argv())?;
    start_owned(cgroups, "kube-apiserver", apiserver_argv())
}

/// Starts what needs the API server.
pub fn start_controllers(cgroups: &Cgroups) -> Result<()> {
    start_owned(cgroups, "kube-controller-manager", controller_manager_argv())?;
    start_owned(cgroups, "kube-scheduler", scheduler_argv())
}

/// Starts one of them again, by its name.
pub fn start_again(cgroups: &Cgroups, name: &str) -> Result<()> {
    let argv = argv_of(name).with_context(|| format!("{name} cannot be started alone"))?;
    start_owned(cgroups, name, argv)
}

/// What [`start_again`] starts.
pub fn argv_of(name: &str) -> Option<Vec<String>> {
    Some(match name {
        "etcd" => etcd_argv(),
        "kube-apiserver" => apiserver_argv(),
        "kube-controller-manager" => controller_manager_argv(),
        "kube-scheduler" => scheduler_argv(),
        _ => return None,
    })
}

/// `kubectl` as the cluster's administrator.
pub fn kubectl() -> Command {
    let mut command = Command::new(layout::bin().join("kubectl"));
    command.env("KUBECONFIG", layout::kubeconfig());
    // Not into the caller's ~/.kube.
    command.env("KUBECACHEDIR", state("kubectl-cache"));
    command
}

/// Starts a process of the host's side.
pub fn start(cgroups: &Cgroups, name: &str, argv: &[&str]) -> Result<()> {
    start_owned(cgroups, name, argv.iter().map(|word| (*word).to_owned()).collect())
}

fn start_owned(cgroups: &Cgroups, name: &str, argv: Vec<String>) -> Result<()> {
    let cgroup = cgroups.procs("control");
    let launch = Launch { name: name.to_owned(), cgroup, argv, ..Launch::default() };
    launch.start().map(drop)
}

fn registry_config() -> String {
    let root = state("registry");
    format!(
        "version: 0.1\nlog: {{level: warn, accesslog: {{disabled: true}}}}\n\
         storage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\n\
         http: {{addr: \"{REGISTRY}\"}}\n",
        root.display()
    )
}

fn etcd_argv() -> Vec<String> {
    vec![
        "etcd".to_owned(),
        format!("--data-dir={}", state("etcd").display()),
        "--listen-client-urls=http://127.0.0.1:2379".to_owned(),
        "--advertise-client-urls=http://127.0.0.1:2379".to_owned(),
        "--listen-peer-urls=http://127.0.0.1:2380".to_owned(),
        // The data is worth nothing after a crash; syncing it costs seconds.
        "--unsafe-no-fsync".to_owned(),
    ]
}

fn apiserver_argv() -> Vec<String> {
    let file = |name: &str| pki(name).display().to_string();
    vec![
        "kube-apiserver".to_owned(),
        "--etcd-servers=http://127.0.0.1:2379".to_owned(),
        "--secure-port=6443".to_owned(),
        format!("--advertise-address={HOST_ADDRESS}"),
        format!("--tls-cert-file={}", file("apiserver.crt")),
        format!("--tls-private-key-file={}", file("apiserver.key")),
        format!("--client-ca-file={}", file("ca.crt")),
        format!("--kubelet-client-certificate={}", file("kubelet-client.crt")),
        format!("--kubelet-client-key={}", file("kubelet-client.key")),
        format!("--kubelet-certificate-authority={}", file("ca.crt")),
        // Trap: no DNS knows the names node1 and node2, which come first by default.
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
        format!("--service-account-key-file={}", file("sa.pub")),
        format!("--service-account-signing-key-file={}", file("sa.key")),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--enable-admission-plugins=NodeRestriction".to_owned(),
        "--allow-privileged=true".to_owned(),
    ]
}

fn controller_manager_argv() -> Vec<String> {
    vec![
        "kube-controller-manager".to_owned(),
        format!("--kubeconfig={}", pki("kube-controller-manager.kubeconfig").display()),
        format!("--root-ca-file={}", pki("ca.crt").display()),
        format!("--service-account-private-key-file={}", pki("sa.key").display()),
        "--use-service-account-credentials=true".to_owned(),
        "--leader-elect=false".to_owned(),
        "--bind-address=127.0.0.1".to_owned(),
    ]
}

fn scheduler_argv() -> Vec<String> {
    vec![
        "kube-scheduler".to_owned(),
        format!("--kubeconfig={}", pki("kube-scheduler.kubeconfig").display()),
        "--leader-elect=false".to_owned(),
        "--bind-address=127.0.0.1".to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubelets_are_reached_by_address() {
        assert!(apiserver_argv().iter().any(|word| word.ends_with("types=InternalIP")));
    }

    #[test]
    fn the_registry_listens_on_the_bridge_only() {
        assert!(registry_config().contains(r#"addr: "10.200.0.1:5000""#));
    }
}
