//! `cargo xtask dist`: what is installed, in `target/dist`, and the README's
//! reference, all of it from the definition of the command line.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::cluster::layout;
use crate::{demo, run};

/// What stands before and behind the README's generated part.
const BEGIN: &str = "<!-- written by `cargo xtask dist`: begin -->\n";
const END: &str = "<!-- written by `cargo xtask dist`: end -->\n";

/// The names kubectl knows kpexec by.
const LINKS: [&str; 2] = ["kubectl-pexec", "kubectl_complete-pexec"];

/// Makes all of it.
pub fn dist() -> Result<()> {
    let kpexec = demo::build_kpexec()?;
    let folder = layout::checkout().join("target/dist");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    fs::copy(&kpexec, folder.join("kpexec")).context("cannot copy kpexec")?;
    for link in LINKS {
        symlink("kpexec", folder.join(link))?;
    }
    run::quietly(Command::new(&kpexec).arg("__reference").arg(&folder))?;
    render(&folder.join("man1"))?;
    let (old, new) = readme(&folder)?;
    if old != new {
        fs::write(layout::checkout().join("README.md"), new)?;
        println!("dist: README.md has a new reference");
    }
    println!("dist: {}", folder.display());
    Ok(())
}

/// Fails where the README is not as the command line is, or a man page is no good.
pub fn check() -> Result<Option<String>> {
    let folder = layout::checkout().join("target/tmp/reference");
    let mut kpexec = run::cargo();
    kpexec.args(["run", "--quiet", "--package", "kpexec", "--", "__reference"]).arg(&folder);
    run::quietly(&mut kpexec)?;
    render(&folder.join("man1"))?;
    let (old, new) = readme(&folder)?;
    ensure!(old == new, "README.md has an old reference: run `cargo xtask dist`");
    Ok(None)
}

/// The README as it is, and as it is to be.
fn readme(folder: &Path) -> Result<(String, String)> {
    let old = fs::read_to_string(layout::checkout().join("README.md"))?;
    let reference = fs::read_to_string(folder.join("reference.md"))?;
    let new = with_reference(&old, &reference)?;
    Ok((old, new))
}

fn with_reference(readme: &str, reference: &str) -> Result<String> {
    let parts = readme.split_once(BEGIN).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(END)?;
        Some(format!("{before}{BEGIN}\n{}\n\n{END}{after}", reference.trim()))
    });
    parts.context("README.md lacks the lines between which the reference stands")
}

/// Has groff read every page; what it warns of is an error.
fn render(folder: &Path) -> Result<()> {
    let groff = run::find("groff").context("groff is missing: `cargo xtask setup` installs it")?;
    for entry in fs::read_dir(folder)? {
        let page = entry?.path();
        let said =
            Command::new(&groff).args(["-man", "-ww", "-z", "-Tutf8"]).arg(&page).output()?;
        let warnings = String::from_utf8_lossy(&said.stderr);
        if !said.status.success() || !warnings.is_empty() {
            bail!("{}: {}", page.display(), run::last_lines(warnings.trim(), 8));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_is_put_between_its_marks() {
        let readme = format!("# x\n{BEGIN}old\n{END}more\n");
        let expected = format!("# x\n{BEGIN}\n- a\n\n{END}more\n");
        let new = with_reference(&readme, "- a\n").unwrap();
        assert_eq!(new, expected);
        assert_eq!(with_reference(&new, "- a\n").unwrap(), expected);
        assert!(with_reference("# x\n", "- a\n").is_err());
    }

    #[test]
    fn a_page_that_groff_warns_of_is_refused() {
        let folder = layout::checkout().join(format!("target/tmp/pages-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let judge = |page: &str| {
            fs::write(folder.join("x.1"), page).unwrap();
            render(&folder).map_err(|error| error.to_string())
        };
        let good = judge(".TH x 1\n.SH NAME\nx\n");
        let bad = judge(".TH x 1\n.SH NAME\n.nosuch\nx\n");
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(good, Ok(()));
        assert!(bad.unwrap_err().contains("nosuch"));
    }
}
