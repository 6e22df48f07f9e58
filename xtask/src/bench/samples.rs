//! What a bench program has printed, and what can be said of it: medians,
//! because one interruption must not count for more than another.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

/// Numbers by way and phase.
#[derive(Debug, Default)]
pub struct Samples(BTreeMap<(String, String), Vec<u64>>);

impl Samples {
    /// Reads lines of `WAY PHASE NUMBER`.
    pub fn read(text: &str) -> Result<Self> {
        let mut samples = Self::default();
        for line in text.lines() {
            let mut words = line.split(' ');
            let (Some(way), Some(phase), Some(number), None) =
                (words.next(), words.next(), words.next(), words.next())
            else {
                anyhow::bail!("the bench said `{line}`, which is no sample");
            };
            let number = number.parse().with_context(|| format!("no number in `{line}`"))?;
            samples.0.entry((way.to_owned(), phase.to_owned())).or_default().push(number);
        }
        samples.0.values_mut().for_each(|numbers| numbers.sort_unstable());
        Ok(samples)
    }

    /// All of one way and phase.
    pub fn of(&self, way: &str, phase: &str) -> Result<Summary> {
        let numbers = self.0.get(&(way.to_owned(), phase.to_owned()));
        let sorted = numbers.with_context(|| format!("the bench did not measure {way} {phase}"))?;
        // The smallest number that so many per cent are not above.
        let rank = |percent: usize| sorted[(sorted.len() * percent).div_ceil(100).max(1) - 1];
        Ok(Summary {
            count: sorted.len(),
            least: sorted[0],
            median: rank(50),
            p95: rank(95),
            p99: rank(99),
        })
    }
}

/// What is said of a row of numbers, in their own unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// How many they are.
    pub count: usize,
    /// The smallest.
    pub least: u64,
    /// Half of them are not above it.
    pub median: u64,
    /// 95 per cent of them are not above it.
    pub p95: u64,
    /// 99 per cent of them are not above it.
    pub p99: u64,
}

/// With two decimals: microseconds as milliseconds, thousandths as a ratio.
pub fn thousandths(number: u64) -> String {
    let hundredths = (number + 5) / 10;
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousandths_are_rounded() {
        assert_eq!(thousandths(0), "0.00");
        assert_eq!(thousandths(1234), "1.23");
        assert_eq!(thousandths(1235), "1.24");
        assert_eq!(thousandths(12_996), "13.00");
    }

    #[test]
    fn ranks_are_numbers_that_were_measured() {
        let text: String = (1..=20).rev().map(|n| format!("a b {n}\n")).collect();
        let summary = Samples::read(&text).unwrap().of("a", "b").unwrap();
        assert_eq!(summary, Summary { count: 20, least: 1, median: 10, p95: 19, p99: 20 });
    }

    #[test]
    fn one_number_is_all_of_them() {
        let summary = Samples::read("a b 7").unwrap().of("a", "b").unwrap();
        assert_eq!(summary, Summary { count: 1, least: 7, median: 7, p95: 7, p99: 7 });
    }

    #[test]
    fn ways_and_phases_are_apart() {
        let samples = Samples::read("a b 1\na c 2\nb b 3\n").unwrap();
        assert_eq!(samples.of("a", "c").unwrap().median, 2);
        assert_eq!(samples.of("b", "b").unwrap().median, 3);
        assert!(samples.of("b", "c").is_err());
    }

    #[test]
    fn what_is_no_sample_is_an_error() {
        for text in ["a b", "a b c", "a b 1 2", "running 0 tests"] {
            assert!(Samples::read(text).is_err(), "{text}");
        }
    }
}
