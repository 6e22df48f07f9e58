//! How many background processes there are: one for all that it may answer.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::command::{Output, run};
use tests::{BOTH_NODES, Cluster, kubectl};

use crate::sharer::Sharer;

#[test]
fn all_commands_of_a_user_have_one_process() -> Result<()> {
    let sharer = Sharer::new("one")?;
    let [one, other] = BOTH_NODES;
    // None is there, and all of them would start one.
    let first: Vec<_> = (0..4)
        .flat_map(|_| [one, other])
        .map(|pod| {
            let command = sharer.command(&[pod, "--", "true"]);
            std::thread::spawn(move || run(command, b""))
        })
        .collect();
    for client in first {
        let output = client.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
        assert_eq!(output.code(), 0, "{output:?}");
    }
    let process = sharer.process()?;
    // What is different here is nothing that says who we are, and to whom.
    for (number, arguments) in [
        &["-u", "7:8", one][..],
        &["--profile", "netadmin", other],
        &["--profile", "target", one],
        &["--helper-ttl", "7m", other],
        &["--keepalive", "40s", one],
        &["-n", "default", "-c", "one", "multi"],
        &["--env", "A=1", "--workdir", "/", "--writes=deny", other],
        &["-q", "pod/busybox-crio"],
    ]
    .into_iter()
    .enumerate()
    {
        let elsewhere = tempfile::tempdir()?;
        let mut command = sharer.command(&[arguments, &["--", "true"]].concat());
        command.current_dir(&elsewhere).env("PWD", elsewhere.path());
        command.env("TERM", format!("vt{number}")).env("COLUMNS", number.to_string());
        let output = run(command, b"")?;
        assert_eq!(output.code(), 0, "{arguments:?}: {output:?}");
        assert_eq!(sharer.processes()?, [process], "{arguments:?}");
    }
    let left = fs::read_dir(sharer.folder().join("kpexec"))?.flatten();
    let sockets = left.filter(|entry| entry.path().extension().is_some_and(|is| is == "sock"));
    assert_eq!(sockets.count(), 1);
    Ok(())
}

/// A kubeconfig that does not say who vouches for the API server.
fn without_authority(file: &Path) -> Result<()> {
    let text = kubectl(&["config", "view", "--raw", "--minify", "-o", "json"])?;
    let mut config: Value = serde_json::from_str(&text)?;
    let cluster = config["clusters"][0]["cluster"].as_object_mut().context("no cluster")?;
    let authority = cluster.remove("certificate-authority-data");
    ensure!(authority.is_some_and(|data| data != json!("")), "it has none");
    Ok(fs::write(file, config.to_string())?)
}

#[test]
fn a_relative_certificate_authority_is_found_from_where_it_was_typed() -> Result<()> {
    let sharer = Sharer::new("relative")?;
    let top = sharer.folder();
    without_authority(&top.join("config"))?;
    let pki = Cluster::get().kubeconfig.with_file_name("pki");
    for (folder, certificate) in [("right", "ca.crt"), ("wrong", "admin.crt")] {
        fs::create_dir(top.join(folder))?;
        fs::copy(pki.join(certificate), top.join(folder).join("ca.crt"))?;
    }
    let from = |folder: &str, authority: &str, pod: &str| -> Result<Output> {
        let mut command =
            sharer.command(&["--certificate-authority", authority, pod, "--", "true"]);
        command.env("KUBECONFIG", top.join("config")).current_dir(top.join(folder));
        run(command, b"")
    };
    for pod in BOTH_NODES {
        let refused = from("wrong", "ca.crt", pod)?;
        ensure!(refused.code() == 125 && refused.stderr.contains("certificate"), "{refused:?}");
        let wrong = sharer.process()?;
        // The same file by two names, and so the same process: it is in neither folder.
        for (folder, authority) in [("right", "ca.crt"), ("", "right/ca.crt")] {
            let output = from(folder, authority, pod)?;
            assert_eq!(output.code(), 0, "{pod}: {authority} in {folder}/: {output:?}");
            assert_eq!(sharer.processes()?.len(), 2, "{pod}: {authority} in {folder}/");
        }
        // The same name for another file is answered by the other process.
        let refused = from("wrong", "ca.crt", pod)?;
        ensure!(refused.code() == 125 && refused.stderr.contains("certificate"), "{refused:?}");
        ensure!(sharer.processes()?.len() == 2 && sharer.processes()?.contains(&wrong));
        fs::remove_dir_all(top.join("kpexec"))?;
        sharer.wait_for(&[])?;
    }
    Ok(())
}
