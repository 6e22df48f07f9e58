//! The report of `bench session`.

use std::fmt::Write as _;

use anyhow::Result;

use super::samples::{Samples, thousandths};
use super::session::{CASES, PODS};

/// Client memory at most, in KiB, and `kpexec --version` in microseconds.
const MOST_MEMORY: u64 = 25_000;
const MOST_START: u64 = 5_000;

/// Says what the samples tell.
pub fn report(samples: &Samples) -> Result<String> {
    let rounds = samples.of("start", "version")?.count;
    let mut text = format!("{rounds} rounds, by turns; medians, ms; ratio: of the medians\n");
    let [ours, peer] = ["ours", "kubectl"];
    writeln!(
        text,
        "{:<20}{ours:>9}{peer:>9}{:>8}{:>7}  {:<7}{:>12}{:>12}",
        "", "ratio", "bar", "", "client CPU", "memory, MB"
    )?;
    let mut most_memory = 0;
    for case in CASES {
        for (_, node) in PODS {
            let way = format!("{}@{node}", case.name);
            let median = |phase: &str| Ok::<_, anyhow::Error>(samples.of(&way, phase)?.median);
            let (ours, peer) = (median("ours")?, median("peer")?);
            let ratio = ours * 1000 / peer.max(1);
            let verdict = if ratio <= case.bar { "met" } else { "missed" };
            let processor = (median("ours-processor")?, median("peer-processor")?);
            let memory = (median("ours-memory")?, median("peer-memory")?);
            most_memory = most_memory.max(memory.0);
            writeln!(
                text,
                "{way:<20}{:>9}{:>9}{:>8}{:>7}  {verdict:<7}{:>12}{:>12}",
                thousandths(ours),
                thousandths(peer),
                thousandths(ratio),
                thousandths(case.bar),
                format!("{}/{}", processor.0, processor.1),
                format!("{}/{}", memory.0 / 1000, memory.1 / 1000),
            )?;
        }
    }
    let start = samples.of("start", "version")?.median;
    let verdict = |met: bool| if met { "met" } else { "missed" };
    let (memory_met, start_met) = (most_memory <= MOST_MEMORY, start <= MOST_START);
    writeln!(text, "\nclient's memory at most {most_memory} KiB: {}", verdict(memory_met))?;
    writeln!(text, "kpexec --version {} ms: {}", thousandths(start), verdict(start_met))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_met_or_missed_and_nothing_may_be_missing() {
        let mut lines = String::from("start version 4000\n");
        for case in CASES {
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
        let text = report(&Samples::read(&lines).unwrap()).unwrap();
        let warm = text.lines().find(|line| line.starts_with("warm@node1")).unwrap();
        assert!(warm.contains("0.48") && warm.contains(" met "), "{text}");
        assert!(text.contains("18000 KiB: met") && text.contains("4.00 ms: met"), "{text}");
        let slow = lines.replace("warm@node1 ours 100000", "warm@node1 ours 200000");
        let text = report(&Samples::read(&slow).unwrap()).unwrap();
        assert!(text.contains("missed"), "{text}");
        let cut = lines.replace("cold@node2 peer 210000\n", "");
        assert!(report(&Samples::read(&cut).unwrap()).is_err());
    }
}
