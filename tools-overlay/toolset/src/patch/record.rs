//! `patches.lock`: how often each rule applies to each file.
//!
//! A new version of a package may spell a path in another way, or more often.
//! A build whose counts differ from what was looked at once fails.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

/// File → rule → how often it applied.
pub type Counts = BTreeMap<String, BTreeMap<String, usize>>;

const HEADER: &str = "\
# How often each patch applies to each file. Written by `cargo xtask toolset full --record`.
# file count rule
";

/// Reads the file.
pub fn parse(text: &str) -> Result<Counts> {
    let mut counts = Counts::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let mut fields = line.splitn(3, '\t');
        let (Some(file), Some(count), Some(rule)) = (fields.next(), fields.next(), fields.next())
        else {
            anyhow::bail!("patches.lock: {line}: not three fields");
        };
        let count = count.parse().with_context(|| format!("patches.lock: {line}"))?;
        counts.entry(file.to_owned()).or_default().insert(rule.to_owned(), count);
    }
    Ok(counts)
}

/// Writes the file.
pub fn format(counts: &Counts) -> String {
    let mut text = HEADER.to_owned();
    for (file, rules) in counts {
        for (rule, count) in rules {
            text.push_str(&format!("{file}\t{count}\t{rule}\n"));
        }
    }
    text
}

/// The only file of a smaller profile that the full one does not have.
const NOT_IN_FULL: &str = "bin/vim.tiny";

/// Fails with every difference. `counted` names all files of a tree, also those
/// to which nothing applied. A tree that is not `full` lacks files of the
/// record; of the full one, each of the record must be there.
pub fn compare(recorded: &Counts, counted: &Counts, full: bool) -> Result<()> {
    let nothing = BTreeMap::new();
    let mut differences = Vec::new();
    for (file, counted) in counted {
        let recorded = recorded.get(file).unwrap_or(&nothing);
        for rule in
            recorded.keys().chain(counted.keys().filter(|rule| !recorded.contains_key(*rule)))
        {
            let (before, now) = (recorded.get(rule), counted.get(rule));
            if before != now {
                let (before, now) = (before.unwrap_or(&0), now.unwrap_or(&0));
                differences.push(format!("{file}: {rule}: {now} times, not {before}"));
            }
        }
    }
    let gone = recorded.keys().filter(|file| full && !counted.contains_key(*file));
    differences.extend(
        gone.filter(|file| *file != NOT_IN_FULL).map(|file| format!("{file}: is not there")),
    );
    ensure!(
        differences.is_empty(),
        "patches do not apply as recorded in patches.lock (look at each, then \
         `cargo xtask toolset full --record`):\n  {}",
        differences.join("\n  ")
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(entries: &[(&str, &str, usize)]) -> Counts {
        let mut counts = Counts::new();
        for (file, rule, count) in entries {
            counts.entry((*file).to_owned()).or_default().insert((*rule).to_owned(), *count);
        }
        counts
    }

    #[test]
    fn what_is_written_is_read_back() {
        let all = counts(&[("bin/a", "/usr/share/", 3), ("bin/a", "a b", 1), ("bin/b", "#!", 1)]);
        assert_eq!(parse(&format(&all)).unwrap(), all);
        assert!(parse("bin/a 3 x\n").is_err());
    }

    #[test]
    fn every_difference_is_named_with_file_and_rule() {
        let recorded = counts(&[("bin/a", "x", 3), ("bin/a", "y", 1), ("bin/full", "z", 1)]);
        compare(&recorded, &counts(&[("bin/a", "x", 3), ("bin/a", "y", 1)]), false).unwrap();
        let now = counts(&[("bin/a", "x", 2), ("bin/a", "z", 1), ("bin/new", "x", 1)]);
        let said = compare(&recorded, &now, false).unwrap_err().to_string();
        for line in [
            "bin/a: x: 2 times, not 3",
            "bin/a: y: 0 times, not 1",
            "bin/a: z: 1 times, not 0",
            "bin/new: x: 1 times, not 0",
        ] {
            assert!(said.contains(line), "{said}");
        }
    }

    #[test]
    fn the_last_rule_of_a_file_and_a_file_that_is_gone_are_missed() {
        let recorded = counts(&[("bin/a", "x", 3), ("bin/full", "z", 1), (NOT_IN_FULL, "x", 1)]);
        let nothing = Counts::from([("bin/a".to_owned(), BTreeMap::new())]);
        let said = compare(&recorded, &nothing, false).unwrap_err().to_string();
        assert!(said.contains("bin/a: x: 0 times, not 3"), "{said}");
        assert!(!said.contains("bin/full"), "{said}");
        let small = counts(&[("bin/a", "x", 3)]);
        compare(&recorded, &small, false).unwrap();
        let said = compare(&recorded, &small, true).unwrap_err().to_string();
        assert!(said.contains("bin/full: is not there"), "{said}");
        assert!(!said.contains(NOT_IN_FULL), "{said}");
    }

    #[test]
    fn the_checked_in_record_can_be_read() {
        let recorded = parse(include_str!("../../patches.lock")).unwrap();
        assert!(recorded["bin/bash"].contains_key("~/.bashrc"));
    }
}
