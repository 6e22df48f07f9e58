//! The report of `bench session`.

use std::fmt::Write as _;

use anyhow::Result;

use super::samples::{Samples, Summary, thousandths};
use super::session::{Case, PODS};

/// Client memory at most, in KiB, and `kpexec --version` in microseconds.
const MOST_MEMORY: u64 = 25_000;
const MOST_START: u64 = 5_000;

/// Says what the samples tell of these cases.
pub fn report(samples: &Samples, cases: &[&Case]) -> Result<String> {
    let start = samples.of("start", "version")?;
    let mut text = format!("{} rounds, by turns; ms; ratio: of the medians\n", start.count);
    writeln!(
        text,
        "{:<20}{:>9}{:>9}{:>8}{:>7}  {:<7}{:>12}{:>12}  peer failed",
        "", "ours", "peer", "ratio", "bar", "", "client CPU", "memory, MB"
    )?;
    let mut most_memory = 0;
    for case in cases {
        for (_, node) in PODS {
            let way = format!("{}@{node}", case.name);
            text += &row(samples, case, &way)?;
            if let Ok(memory) = samples.of(&way, "ours-memory") {
                most_memory = most_memory.max(memory.median);
            }
        }
    }
    if most_memory > 0 {
        let met = verdict(most_memory <= MOST_MEMORY);
        writeln!(text, "\nclient's memory at most {most_memory} KiB: {met}")?;
    }
    let met = verdict(start.median <= MOST_START);
    writeln!(text, "kpexec --version {} ms: {met}", thousandths(start.median))?;
    Ok(text)
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "missed" }
}

/// The lines of one way: medians, and of keys p99 as well.
fn row(samples: &Samples, case: &Case, way: &str) -> Result<String> {
    let ours = samples.of(way, "ours")?;
    let failed = samples.of(way, "peer-failed").map_or(0, |failed| failed.count);
    let Ok(peer) = samples.of(way, "peer") else {
        return Ok(format!(
            "{way:<20}{:>9}  the peer failed each time\n",
            thousandths(ours.median)
        ));
    };
    let both = |phase: &str| -> Option<(u64, u64)> {
        let of = |side: &str| Some(samples.of(way, &format!("{side}-{phase}")).ok()?.median);
        Some((of("ours")?, of("peer")?))
    };
    let memory = both("memory").map(|(ours, peer)| format!("{}/{}", ours / 1000, peer / 1000));
    let mut text = times(way, case.bar, ours, peer, |summary| summary.median);
    let processor = both("processor").map(|(ours, peer)| {
        let met = case.processor_bar.is_none_or(|bar| ours * 1000 <= peer * bar);
        format!("{ours}/{peer}{}", if met { "" } else { " !" })
    });
    let (processor, memory) = (processor.unwrap_or_default(), memory.unwrap_or_default());
    writeln!(text, "{processor:>12}{memory:>12}  {failed} of {}", failed + peer.count)?;
    if case.name == "keystroke" {
        text += &times("  p99", case.bar, ours, peer, |summary| summary.p99);
        text.push('\n');
    }
    Ok(text)
}

fn times(what: &str, bar: u64, ours: Summary, peer: Summary, of: fn(&Summary) -> u64) -> String {
    let (ours, peer) = (of(&ours), of(&peer));
    let ratio = ours * 1000 / peer.max(1);
    let met = verdict(ratio <= bar);
    let [ours, peer, ratio, bar] = [ours, peer, ratio, bar].map(thousandths);
    format!("{what:<20}{ours:>9}{peer:>9}{ratio:>8}{bar:>7}  {met:<7}")
}

#[cfg(test)]
mod tests {
    use super::super::session::chosen;
    use super::*;

    fn samples() -> String {
        let mut lines = String::from("start version 4000\n");
        for case in chosen(&[]) {
            for (_, node) in PODS {
                for (phase, number) in [
                    ("ours", 100_000),
                    ("peer", 210_000),
                    ("ours-processor", 10),
                    ("peer-processor", 40),
                    ("ours-memory", 18_000),
                    ("peer-memory", 50_000),
                ] {
                    lines += &format!("{}@{node} {phase} {number}\n", case.name);
                }
            }
        }
        lines
    }

    fn report_of(lines: &str) -> Result<String> {
        report(&Samples::read(lines).unwrap(), &chosen(&[]))
    }

    fn line<'a>(text: &'a str, way: &str) -> &'a str {
        text.lines().find(|line| line.starts_with(way)).unwrap()
    }

    #[test]
    fn a_bar_is_met_or_missed_and_nothing_of_ours_may_be_missing() {
        let lines = samples();
        let text = report_of(&lines).unwrap();
        let warm = line(&text, "warm@node1");
        assert!(warm.contains("0.48") && warm.contains(" met "), "{text}");
        assert!(warm.contains("10/40 ") && warm.ends_with("0 of 1"), "{text}");
        assert!(text.contains("18000 KiB: met") && text.contains("4.00 ms: met"), "{text}");
        let slow = lines.replace("warm@node1 ours 100000", "warm@node1 ours 200000");
        assert!(line(&report_of(&slow).unwrap(), "warm@node1").contains("missed"));
        let busy = lines.replace("ours-processor 10", "ours-processor 11");
        assert!(line(&report_of(&busy).unwrap(), "warm@node1").contains("11/40 !"));
        assert!(report_of(&lines.replace("cold@node2 ours 100000\n", "")).is_err());
    }

    #[test]
    fn a_peer_that_fails_is_counted() {
        let lines = samples() + "cold-debug@node2 peer-failed 1\ncold-debug@node2 peer-failed 1\n";
        let text = report_of(&lines).unwrap();
        assert!(line(&text, "cold-debug@node2").ends_with("2 of 3"), "{text}");
        let never = lines.replace("cold-debug@node2 peer 210000\n", "");
        let text = report_of(&never).unwrap();
        assert!(line(&text, "cold-debug@node2").ends_with("failed each time"), "{text}");
    }

    #[test]
    fn keys_have_their_slowest_as_well() {
        let slow = "keystroke@node1 ours 900000\n".to_owned();
        let text = report_of(&(samples() + &slow)).unwrap();
        let at = text.lines().position(|line| line.starts_with("keystroke@node1")).unwrap();
        let p99 = text.lines().nth(at + 1).unwrap();
        assert!(p99.contains("900.00") && p99.contains("missed"), "{text}");
    }
}
