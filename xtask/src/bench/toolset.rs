//! The report of `bench toolset`: how large the toolset is, and how long its
//! programs take to start.

use std::fmt::Write as _;
use std::process::Command;

use ::toolset::{Built, Profile};
use anyhow::Result;

use super::samples::{Samples, thousandths};
use super::start::TOOLS;
use crate::run;

/// How much longer a program may take to start than the machine's own, in
/// thousandths.
const BAR: u64 = 1200;

/// Says what the samples tell.
pub fn report(trees: &[(Profile, Built)], samples: &Samples) -> Result<String> {
    let mut text = format!("{:<10}{:>8}{:>10}{:>10}\n", "size, MB", "raw", "zstd -3", "packages");
    for (number, (profile, built)) in trees.iter().enumerate() {
        let packed = samples.of(&number.to_string(), "compressed")?.median;
        let (name, raw, packed) = (profile.name(), megabytes(built.size), megabytes(packed));
        writeln!(text, "{name:<10}{raw:>8}{packed:>10}{:>10}", built.packages)?;
    }
    let rounds = samples.of(TOOLS[0].0, "ratio")?.count;
    writeln!(text, "\nstart-up, {rounds} rounds, by turns; ratio: median of the rounds'")?;
    writeln!(text, "{:<24}{:>9}{:>9}{:>8}", "median, ms", "ours", "host's", "ratio")?;
    for (name, arguments, _) in TOOLS {
        let [ours, host, ratio] = [
            samples.of(name, "ours")?.median,
            samples.of(name, "host")?.median,
            samples.of(name, "ratio")?.median,
        ];
        let verdict = if ratio <= BAR { "met" } else { "MISSED" };
        let line = [&[*name], *arguments].concat().join(" ");
        let (ours, host) = (thousandths(ours), thousandths(host));
        writeln!(text, "{line:<24}{ours:>9}{host:>9}{:>8}  {verdict}", thousandths(ratio))?;
    }
    writeln!(text, "bar: {}", thousandths(BAR))?;
    Ok(text)
}

/// Package and version of each tool of the machine's.
pub fn versions() -> Result<String> {
    let packages: Vec<&str> = TOOLS.iter().map(|(_, _, package)| *package).collect();
    let mut query = Command::new("dpkg-query");
    query.args(["-W", "-f", "${Package} ${Version}, "]).args(packages);
    Ok(run::output(&mut query)?.trim_end_matches(", ").to_owned())
}

fn megabytes(bytes: u64) -> String {
    let tenths = (bytes + 50_000) / 100_000;
    format!("{}.{}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(ratio: u64) -> Samples {
        let lines = TOOLS.iter().map(|(name, _, _)| {
            format!("{name} ours {ratio}\n{name} host 1000\n{name} ratio {ratio}\n")
        });
        Samples::read(&(lines.collect::<String>() + "0 compressed 155040000\n")).unwrap()
    }

    #[test]
    fn the_bar_is_a_ratio() {
        let built = Built {
            root: "/".into(),
            key: String::new(),
            digest: String::new(),
            size: 441_000_000,
            packages: 255,
        };
        let text = report(&[(Profile::Full, built)], &samples(1200)).unwrap();
        assert!(text.contains("bash -c :") && text.contains("1.20  met"), "{text}");
        assert!(text.contains("441.0") && text.contains("155.0"), "{text}");
        assert!(report(&[], &samples(1201)).unwrap().contains("MISSED"));
        assert!(report(&[], &Samples::default()).is_err());
    }

    #[test]
    fn ten_tools_are_measured() {
        assert_eq!(TOOLS.len(), 10);
    }
}
