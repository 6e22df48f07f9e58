//! Certificates and kubeconfigs, new for every cluster.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::json;

use super::layout::{self, HOST_ADDRESS, pki};
use super::node::NODES;
use crate::run;

const DAYS: &str = "365";

/// Makes the authority, every certificate and every kubeconfig.
pub fn make() -> Result<()> {
    make_authority()?;
    let server = format!(
        "IP:127.0.0.1,IP:{HOST_ADDRESS},IP:10.96.0.1,DNS:localhost,\
         DNS:kubernetes.default.svc"
    );
    make_certificate("apiserver", "/CN=kube-apiserver", &server)?;
    make_client("kubelet-client", "/O=system:masters/CN=kube-apiserver-kubelet-client")?;
    make_client("admin", "/O=system:masters/CN=admin")?;
    write_kubeconfig(&layout::kubeconfig(), "127.0.0.1", "admin")?;
    for component in ["kube-controller-manager", "kube-scheduler"] {
        make_client(component, &format!("/CN=system:{component}"))?;
        let file = pki(&format!("{component}.kubeconfig"));
        write_kubeconfig(&file, "127.0.0.1", component)?;
    }
    for node in NODES {
        let name = node.name();
        // The names that the Node authorizer and NodeRestriction look for.
        let subject = format!("/O=system:nodes/CN=system:node:{name}");
        make_certificate(&name, &subject, &format!("IP:{},DNS:{name}", node.address()))?;
        fs::create_dir_all(node.folder())?;
        write_kubeconfig(&node.file("kubeconfig"), HOST_ADDRESS, &name)?;
    }
    make_service_account_key()
}

fn openssl(arguments: &[&str]) -> Command {
    let mut command = run::tool("openssl");
    command.args(arguments).current_dir(layout::state("pki"));
    command
}

/// Elliptic keys: made in milliseconds, where RSA takes up to a second each.
const KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

fn make_authority() -> Result<()> {
    let mut command = openssl(&["req", "-x509", "-days", DAYS, "-subj", "/CN=kpexec test cluster"]);
    command.args(KEY).args(["-keyout", "ca.key", "-out", "ca.crt"]);
    command.args(["-addext", "keyUsage=critical,keyCertSign,cRLSign"]);
    run::quietly(&mut command)
}

fn make_client(name: &str, subject: &str) -> Result<()> {
    make_certificate(name, subject, "")
}

fn make_certificate(name: &str, subject: &str, alternative_names: &str) -> Result<()> {
    let file = |kind: &str| format!("{name}.{kind}");
    fs::write(pki(&file("ext")), extensions(alternative_names))?;
    let mut request = openssl(&["req", "-subj", subject]);
    request.args(KEY).args(["-keyout", &file("key"), "-out", &file("csr")]);
    run::quietly(&mut request)?;
    let mut sign = openssl(&["x509", "-req", "-CA", "ca.crt", "-CAkey", "ca.key", "-days", DAYS]);
    sign.args(["-CAcreateserial", "-in", &file("csr"), "-out", &file("crt")]);
    run::quietly(sign.args(["-extfile", &file("ext")]))
}

fn extensions(alternative_names: &str) -> String {
    let mut text = "basicConstraints = CA:FALSE\n\
                    keyUsage = critical, digitalSignature\n\
                    extendedKeyUsage = clientAuth, serverAuth\n"
        .to_owned();
    if !alternative_names.is_empty() {
        text.push_str(&format!("subjectAltName = {alternative_names}\n"));
    }
    text
}

fn make_service_account_key() -> Result<()> {
    run::quietly(&mut openssl(&[
        "ecparam",
        "-name",
        "prime256v1",
        "-genkey",
        "-noout",
        "-out",
        "sa.key",
    ]))?;
    run::quietly(&mut openssl(&["ec", "-in", "sa.key", "-pubout", "-out", "sa.pub"]))
}

fn write_kubeconfig(file: &Path, address: &str, user: &str) -> Result<()> {
    let read = |name: String| {
        let path = pki(&name);
        fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let config = kubeconfig(
        address,
        user,
        &read("ca.crt".to_owned())?,
        &read(format!("{user}.crt"))?,
        &read(format!("{user}.key"))?,
    );
    fs::write(file, config).with_context(|| format!("cannot write {}", file.display()))?;
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(file, fs::Permissions::from_mode(0o600))?;
    Ok(())
}

/// With everything embedded, so that the file can be copied.
fn kubeconfig(address: &str, user: &str, authority: &[u8], crt: &[u8], key: &[u8]) -> String {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "kpexec-test", "cluster": {
            "server": format!("https://{address}:6443"),
            "certificate-authority-data": base64(authority),
        }}],
        "users": [{"name": user, "user": {
            "client-certificate-data": base64(crt),
            "client-key-data": base64(key),
        }}],
        "contexts": [{"name": "kpexec-test", "context": {
            "cluster": "kpexec-test", "user": user,
        }}],
        "current-context": "kpexec-test",
    })
    .to_string()
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            if digit > chunk.len() {
                text.push('=');
            } else {
                text.push(DIGITS[(group >> (18 - 6 * digit) & 63) as usize] as char);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_pads_as_the_rfc_says() {
        let cases =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")];
        for (plain, coded) in cases {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn a_client_certificate_has_no_alternative_names() {
        assert!(!extensions("").contains("subjectAltName"));
        assert!(extensions("IP:10.200.0.11").contains("subjectAltName = IP:10.200.0.11"));
    }
}
