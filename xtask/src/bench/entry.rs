//! The report of `bench entry`: times, bars, where the time goes, memory.

use std::fmt::Write as _;

use anyhow::Result;

use super::samples::{Samples, Summary, thousandths};

/// What a row is called, and its way and phase.
type Row = (&'static str, &'static str, &'static str);

const TIMES: &[Row] = &[
    ("nsenter -a true", "nsenter", "end"),
    ("entry without view, to execve", "bare", "exec"),
    ("entry without view, to the end", "bare", "end"),
    ("entry with view, to execve", "view", "exec"),
    ("entry with view, to the end", "view", "end"),
];

const PARTS: &[Row] = &[
    ("pin the process", "before", "pin"),
    ("look at its neighbours", "before", "reach"),
    ("decide on the identity", "before", "decide"),
    ("start and end the sealed copy", "nothing", "end"),
    ("without view: open descriptors", "bare", "prepare"),
    ("without view: entry process", "bare", "enter"),
    ("without view: go to execve", "bare", "go"),
    ("without view: true itself", "bare", "command"),
    ("with view: open its parts", "view", "prepare"),
    ("with view: entry process", "view", "enter"),
    ("with view: go to execve", "view", "go"),
    ("with view: true itself", "view", "command"),
];

/// What an entry is, its way, and by how much its median may exceed nsenter's,
/// in microseconds.
const BARS: &[(&str, &str, u64)] = &[("without view", "bare", 3000), ("with view", "view", 5000)];

const MEMORY: &[Row] = &[
    ("nsenter, highest resident set", "memory", "nsenter"),
    ("entry process, highest resident set", "memory", "entry"),
    ("nsenter, while a command runs (PSS)", "memory", "nsenter-waiting"),
    ("shim, while a command runs (PSS)", "memory", "shim"),
    ("sealed copy, once a helper", "memory", "image"),
];

/// Says what the samples tell.
pub fn report(samples: &Samples) -> Result<String> {
    let mut text = String::new();
    let peer = samples.of("nsenter", "end")?;
    writeln!(text, "{} rounds, interleaved\n", peer.count)?;
    table(&mut text, samples, "from before the fork, in ms", TIMES)?;
    text.push('\n');
    for (what, way, most) in BARS {
        writeln!(text, "{}", bar(what, samples.of(way, "end")?, peer, *most))?;
    }
    text.push('\n');
    table(&mut text, samples, "where the time goes, in ms", PARTS)?;
    writeln!(text, "\n{:<38}{:>8}", "memory, in KiB", "median")?;
    for (what, way, phase) in MEMORY {
        writeln!(text, "{what:<38}{:>8}", samples.of(way, phase)?.median)?;
    }
    Ok(text)
}

fn table(text: &mut String, samples: &Samples, title: &str, rows: &[Row]) -> Result<()> {
    writeln!(text, "{title:<34}{:>8}{:>8}{:>8}", "median", "p95", "min")?;
    for (what, way, phase) in rows {
        let Summary { median, p95, least, .. } = samples.of(way, phase)?;
        let [median, p95, least] = [median, p95, least].map(thousandths);
        writeln!(text, "{what:<34}{median:>8}{p95:>8}{least:>8}")?;
    }
    Ok(())
}

fn bar(what: &str, ours: Summary, peer: Summary, most: u64) -> String {
    let verdict = if ours.median <= peer.median + most { "met" } else { "MISSED" };
    let more = ours.median.abs_diff(peer.median);
    let sign = if ours.median < peer.median { '-' } else { '+' };
    // One part in a hundred is more than a run like this can tell.
    let ratio = ours.median * 100 / peer.median.max(1);
    format!(
        "{what}: {sign}{} ms, {}.{:02} times nsenter; bar +{} ms: {verdict}",
        thousandths(more),
        ratio / 100,
        ratio % 100,
        thousandths(most)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(median: u64) -> Summary {
        Summary { count: 1, least: median, median, p95: median, p99: median }
    }

    #[test]
    fn the_bar_is_a_difference_of_medians() {
        let said = bar("x", of(4700), of(1700), 3000);
        assert_eq!(said, "x: +3.00 ms, 2.76 times nsenter; bar +3.00 ms: met");
        assert!(bar("x", of(4701), of(1700), 3000).ends_with("MISSED"));
        let faster = bar("x", of(1000), of(2000), 3000);
        assert_eq!(faster, "x: -1.00 ms, 0.50 times nsenter; bar +3.00 ms: met");
    }

    #[test]
    fn every_row_is_in_the_report_and_none_may_be_missing() {
        let rows = || [TIMES, PARTS, MEMORY].concat();
        let lines: Vec<String> =
            rows().iter().map(|(_, way, phase)| format!("{way} {phase} 1500\n")).collect();
        let text = report(&Samples::read(&lines.concat()).unwrap()).unwrap();
        for (what, _, _) in rows() {
            assert!(text.contains(what), "{what} is not in {text}");
        }
        for left_out in 0..lines.len() {
            let mut lines = lines.clone();
            lines.remove(left_out);
            assert!(report(&Samples::read(&lines.concat()).unwrap()).is_err());
        }
    }
}
