//! The full toolset at work: in any root file system, on both nodes, as root and
//! as a user without privileges.

mod audit;
mod row;
mod session;
mod table;
mod untouched;

use anyhow::{Result, ensure};
use row::Row;
use session::{NODES, Session, USERS};
use tests::terminal::Terminal;

/// Does all rows in each pod of a root, as each user, and reports every fault
/// of a cell together.
fn matrix(root: &str) -> Result<()> {
    let mut faults = Vec::new();
    for node in NODES {
        for uid in USERS {
            let session = Session { root, node, uid };
            faults.extend(faults_in(&session, &[], &table::everyday(root))?);
        }
        let session = Session { root, node, uid: 0 };
        let privileges = ["--profile=netadmin", "--cap-add=BPF,PERFMON"];
        faults.extend(faults_in(&session, &privileges, &table::privileged())?);
    }
    ensure!(faults.is_empty(), "{} faults\n\n{}", faults.len(), faults.join("\n\n"));
    Ok(())
}

fn faults_in(session: &Session<'_>, flags: &[&str], rows: &[Row]) -> Result<Vec<String>> {
    let transcript = session.run(flags, &row::script(session::PRELUDE, rows))?;
    let faults = row::faults(rows, session.uid, &transcript);
    Ok(faults
        .into_iter()
        .map(|fault| format!("{} as {}: {fault}", session.pod(), session.uid))
        .collect())
}

#[test]
fn every_tool_works_beside_a_static_program_alone() -> Result<()> {
    matrix("scratch")
}

#[test]
fn every_tool_works_in_a_distroless_root() -> Result<()> {
    matrix("distroless")
}

#[test]
fn every_tool_works_beside_musl() -> Result<()> {
    matrix("musl")
}

#[test]
fn every_tool_works_beside_an_old_glibc() -> Result<()> {
    matrix("old-glibc")
}

#[test]
fn every_tool_works_beside_a_broken_libc() -> Result<()> {
    matrix("broken-libc")
}

#[test]
fn the_shell_has_job_control_on_the_sessions_terminal() -> Result<()> {
    for node in NODES {
        let session = Session { root: "scratch", node, uid: 0 };
        // The image may have to be pulled first.
        session.run(&[], "true")?;
        let _alone = session.alone();
        let mut terminal = Terminal::run(&session.command(&["-it"], &["bash"]), 24, 80)?;
        terminal.expect("# ")?;
        terminal.type_in("sleep 600\r")?;
        session.wait_for_job("sleep")?;
        terminal.type_in("\x1a")?;
        terminal.expect("Stopped")?;
        terminal.type_in("bg; jobs -r\r")?;
        terminal.expect("Running")?;
        terminal.type_in("fg\r")?;
        terminal.expect("\u{1b}[?2004l\rsleep 600\r\n")?;
        // It is said a moment before it is so.
        session.wait_for_job("sleep")?;
        terminal.type_in("\x03")?;
        terminal.expect("^C")?;
        terminal.type_in("echo rc=$? jobs=$(jobs | wc -l)\r")?;
        terminal.expect("rc=130 jobs=0")?;
        terminal.type_in("exit\r")?;
        tests::command::wait(&mut terminal.child, std::time::Duration::from_secs(60))?;
    }
    Ok(())
}
