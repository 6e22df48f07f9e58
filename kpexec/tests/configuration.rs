//! The configuration, as far as the program needs no cluster for it.

use std::path::Path;
use std::process::{Command, Output};

fn kpexec(home: &Path, variables: &[(&str, &str)], args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kpexec"))
        .env_clear()
        .env("HOME", home)
        .envs(variables.iter().copied())
        .args(args)
        .output()
        .expect("kpexec can be run")
}

/// A home with this configuration.
fn home(configuration: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().expect("a folder");
    let folder = home.path().join(".config/kpexec");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("config.toml"), configuration).expect("a file");
    home
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn it_is_shown_with_its_sources() {
    let home = home("profile = \"restricted\"\nhelper-ttl = 600\n");
    let variables = [("KPEXEC_HELPER_TTL", "20m"), ("KPEXEC_SHARE", "1")];
    let output = kpexec(home.path(), &variables, &["config", "view"]);
    assert!(output.status.success(), "{output:?}");
    let file = home.path().join(".config/kpexec/config.toml");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    let place = format!("{}:1", file.display());
    for row in [
        ["KEY", "VALUE", "SOURCE"],
        ["profile", "restricted", &place],
        ["helper-ttl", "20m", "KPEXEC_HELPER_TTL"],
        ["share", "1", "KPEXEC_SHARE"],
        ["writes", "through", "default"],
    ] {
        assert!(rows.iter().any(|found| found[..] == row), "{row:?} is missing in: {text}");
    }
    let columns = |word: &str| text.lines().map(|line| line.find(word)).collect::<Vec<_>>();
    assert!(columns("default").iter().flatten().all(|at| text.find("SOURCE") == Some(*at)));
}

#[test]
fn what_is_wrong_names_its_place_and_what_is_right() {
    let none = home("");
    let output = kpexec(none.path(), &[("KPEXEC_SHARE", "yes")], &["-i", "web"]);
    assert_eq!(
        stderr(&output),
        "kpexec: KPEXEC_SHARE: invalid value \"yes\" for share: not a duration such as 60, 90s, \
         2m or 1h; 1 or 0\n"
    );
    let cases = [
        ("\nprofil = 'x'\n", 2, "unknown key \"profil\"\nhint: did you mean profile?\n"),
        ("colour = 1", 1, "unknown key \"colour\"\nhint: kpexec config --help lists the keys\n"),
        (
            "writes = 'den'",
            1,
            "invalid value \"den\" for writes: not one of through, deny, discard\n\
             hint: did you mean deny?\n",
        ),
    ];
    for (text, line, told) in cases {
        let home = home(text);
        let file = home.path().join(".config/kpexec/config.toml");
        for args in [&["-i", "web"][..], &["config", "view"]] {
            let output = kpexec(home.path(), &[], args);
            let expected = format!("kpexec: {}:{line}: {told}", file.display());
            assert_eq!((stderr(&output), output.status.code()), (expected, Some(125)), "{args:?}");
        }
        // Help and the shell's start do not depend on it, nor who does without the file.
        for args in [&["--help"][..], &["completion", "bash"]] {
            let output = kpexec(home.path(), &[], args);
            assert!(output.status.success() && !output.stdout.is_empty(), "{output:?}");
        }
        let without = kpexec(home.path(), &[("KPEXEC_CONFIG", "")], &["config", "view"]);
        assert!(without.status.success(), "{without:?}");
    }
}

#[test]
fn a_file_that_is_named_has_to_be_there() {
    let home = home("");
    let output = kpexec(home.path(), &[("KPEXEC_CONFIG", "/no/such")], &["config", "view"]);
    let expected = "kpexec: cannot read the configuration /no/such: No such file or directory (os \
                    error 2)\nhint: KPEXEC_CONFIG names another one, or '' none\n";
    assert_eq!((stderr(&output), output.status.code()), (expected.to_owned(), Some(125)));
}

#[test]
fn an_image_for_each_toolset_can_be_set() {
    // None is set for the standard one, so that it gets no further.
    let home = home("helper-image-full = 'r.test/full@sha256:0'\n");
    let no_image = "no helper image is configured";
    let full = kpexec(home.path(), &[], &["--toolset", "full", "-i", "web"]);
    assert!(!stderr(&full).contains(no_image), "{full:?}");
    let minimal = kpexec(home.path(), &[], &["--toolset", "minimal", "-i", "web"]);
    assert!(stderr(&minimal).contains(no_image), "{minimal:?}");
}
