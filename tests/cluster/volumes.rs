//! Volumes of all kinds are part of the view, in every writes mode: a config map,
//! a secret, a file and a folder by subPath, an empty folder.

use std::fs;

use anyhow::{Result, ensure};
use tests::Pod;
use tests::command::{Output, run_kpexec};

/// One pod a node. Their root file system is read-only.
const PODS: [&str; 2] = ["volumes", "volumes-crio"];

fn run(flags: &[&str], pod: &str, line: &str) -> Result<Output> {
    run_kpexec(&[flags, &[pod, "--", "sh", "-c", line]].concat())
}

#[test]
fn all_are_shown_whatever_becomes_of_writes() -> Result<()> {
    for pod in PODS {
        let target = Pod::find(pod)?;
        fs::write(target.path("/srv/all/deep/there"), "data\n")?;
        let line = "cat /etc/settings/mode /etc/mode /run/token/token /srv/one/deep/there";
        for writes in ["through", "deny", "discard"] {
            let shown = run(&["--writes", writes], pod, line)?;
            let expected = (0, "plainplainsesamedata");
            assert_eq!((shown.code(), &*shown.text()), expected, "{pod}, {writes}: {shown:?}");
        }
    }
    Ok(())
}

#[test]
fn a_folder_by_sub_path_is_written_through() -> Result<()> {
    for pod in PODS {
        let written = run(&[], pod, "echo x > /srv/one/deep/new && cat /srv/all/deep/new")?;
        assert_eq!((written.code(), &*written.text()), (0, "x"), "{pod}: {written:?}");
        let file = Pod::find(pod)?.path("/srv/all/deep/new");
        assert_eq!(fs::read_to_string(&file)?, "x\n", "{pod}");
        fs::remove_file(file)?;
    }
    Ok(())
}

#[test]
fn what_cannot_be_discarded_cannot_be_written() -> Result<()> {
    for pod in PODS {
        for writes in ["deny", "discard"] {
            let line = "> /srv/one/deep/never; > /srv/all/never";
            let refused = run(&["--writes", writes], pod, line)?;
            let times = refused.stderr.matches("Read-only file system").count();
            assert_eq!(times, 2, "{pod}, {writes}: {refused:?}");
            if writes == "discard" {
                for volume in ["/srv/all", "/srv/one/deep"] {
                    ensure!(refused.stderr.contains(volume), "{pod}: {volume}: {refused:?}");
                }
            }
        }
    }
    Ok(())
}

#[test]
fn a_writable_root_makes_no_volume_writable() -> Result<()> {
    for pod in PODS {
        let line = "> /etc/new && rm /etc/new && echo root; > /run/token/x; > /etc/settings/x";
        let written = run(&["--writable"], pod, line)?;
        assert_eq!(written.text(), "root", "{pod}: {written:?}");
        let refused = written.stderr.matches("Read-only file system").count();
        assert_eq!(refused, 2, "{pod}: {written:?}");
    }
    Ok(())
}
