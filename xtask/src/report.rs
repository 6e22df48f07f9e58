//! Counts what libtest prints: its `test result:` lines for the numbers, its
//! `... ignored` lines for the reasons. What failed tests said is kept, to be
//! said again at the end.

/// Ignored tests with this in their reason are run by `cargo xtask test`
/// itself, at another moment: they are not skipped.
const RUN_ELSEWHERE: &str = "cargo xtask test runs it";
/// Lines of one failed test that are said again; the first say why.
const MOST_LINES: usize = 40;
/// Tests of one run that may pass at the second try: more are no coincidence.
const MOST_UNSTEADY: usize = 2;

/// The sum over all test programs.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Tests that passed.
    pub passed: usize,
    /// Tests that failed, and programs that ended without a result.
    pub failed: usize,
    /// Each skipped test with its reason.
    pub skipped: Vec<String>,
    /// Each failed test with what it said, but for the backtrace.
    pub failures: Vec<String>,
    /// The same of those that passed when they were run once more.
    pub unsteady: Vec<String>,
    /// How many more lines belong to the last of the failures.
    lines_left: usize,
    /// Test programs that have begun, and given no result yet.
    running: usize,
}

impl Report {
    /// Takes in one line of a test program's output.
    pub fn read(&mut self, line: &str) {
        self.keep_failure(line);
        if let Some(counts) = line.trim().strip_prefix("test result: ") {
            self.running = self.running.saturating_sub(1);
            self.passed += count(counts, " passed");
            self.failed += count(counts, " failed");
        } else if line.starts_with("running ") && line.trim_end_matches('s').ends_with(" test") {
            self.running += 1;
        } else if let Some((name, reason)) = ignored(line)
            && !reason.contains(RUN_ELSEWHERE)
        {
            let reason = if reason.is_empty() { "no reason given" } else { reason };
            self.skipped.push(format!("{name}: {reason}"));
        }
    }

    fn keep_failure(&mut self, line: &str) {
        let name = line.strip_prefix("---- ").and_then(|line| line.strip_suffix(" stdout ----"));
        if let Some(name) = name {
            self.failures.push(name.to_owned());
            self.lines_left = MOST_LINES;
        } else if line == "failures:" || line.to_lowercase().starts_with("stack backtrace:") {
            self.lines_left = 0;
        } else if self.lines_left > 0
            && !line.trim().is_empty()
            && let Some(failure) = self.failures.last_mut()
        {
            self.lines_left -= 1;
            *failure += "\n  ";
            *failure += line;
        }
    }

    /// Takes in the end of a `cargo test`. A program without a result crashed; one that
    /// fails without a failed test did not build.
    pub fn end_of_run(&mut self, success: bool, failed_before: usize) {
        self.failed += std::mem::take(&mut self.running);
        if !success && self.failed == failed_before {
            self.failed += 1;
        }
    }

    /// The names of the failed tests.
    pub fn failed_tests(&self) -> Vec<String> {
        let name = |failure: &String| failure.lines().next().unwrap_or_default().to_owned();
        self.failures.iter().map(name).collect()
    }

    /// Whether only so few tests failed, and nothing else, that they may be unsteady
    /// beside those `before`.
    pub fn is_nearly_good(&self, before: &Self) -> bool {
        let most = MOST_UNSTEADY.saturating_sub(before.unsteady.len());
        (1..=most).contains(&self.failed) && self.failures.len() == self.failed
    }

    /// What it is after those that failed have passed.
    pub fn unsteady(mut self) -> Self {
        self.passed += std::mem::take(&mut self.failed);
        self.unsteady.append(&mut self.failures);
        self
    }

    /// Takes in what another run reported.
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped.extend(other.skipped);
        self.failures.extend(other.failures);
        self.unsteady.extend(other.unsteady);
    }

    /// The closing line.
    pub fn closing_line(&self) -> String {
        let skipped = self.skipped.len();
        format!("{} passed, {} failed, {skipped} skipped", self.passed, self.failed)
    }

    /// Good is only what ran: no failure, and at least one test.
    pub fn good(&self) -> bool {
        self.failed == 0 && self.passed > 0
    }
}

fn count(counts: &str, what: &str) -> usize {
    let before = counts.split(';').find_map(|part| part.strip_suffix(what));
    let number = before.and_then(|text| text.rsplit(' ').next());
    number.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// `test NAME ... ignored, REASON`
fn ignored(line: &str) -> Option<(&str, &str)> {
    let (name, result) = line.strip_prefix("test ")?.split_once(" ... ")?;
    let reason = result.strip_prefix("ignored")?;
    Some((name, reason.trim_start_matches(", ").trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
running 3 tests
test a ... ok
test b ... ignored, needs a GPU
test c ... ignored
test up ... ignored, takes the cluster down; cargo xtask test runs it first

test result: ok. 12 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.00s

test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1s";

    fn read(output: &str) -> Report {
        let mut report = Report::default();
        output.lines().for_each(|line| report.read(line));
        report
    }

    #[test]
    fn programs_are_summed_and_reasons_kept() {
        let report = read(OUTPUT);
        assert_eq!((report.passed, report.failed), (13, 2));
        assert_eq!(report.skipped, ["b: needs a GPU", "c: no reason given"]);
        assert_eq!(report.closing_line(), "13 passed, 2 failed, 2 skipped");
        assert!(!report.good());
    }

    #[test]
    fn a_crash_counts_as_a_failure_once() {
        let mut report = read("running 1 test");
        report.end_of_run(false, 0);
        assert_eq!(report.failed, 1);
        let mut report = read(OUTPUT);
        report.end_of_run(false, 0);
        assert_eq!(report.failed, 2);
        // Also beside a failed test, which is not all that failed then.
        let failed = "running 2 tests\n---- a stdout ----\nlate\n\nfailures:\n    a\n\n\
                      test result: FAILED. 1 passed; 1 failed; 0 ignored\n";
        let mut report = read(&format!("{failed}running 3 tests\n"));
        report.end_of_run(false, 0);
        assert_eq!(report.failed, 2);
        assert!(!report.is_nearly_good(&Report::default()));
        let mut report = read(failed);
        report.end_of_run(false, 0);
        assert!(report.is_nearly_good(&Report::default()));
        // A build that failed.
        let mut report = Report::default();
        report.end_of_run(false, 0);
        assert_eq!(report.failed, 1);
    }

    #[test]
    fn what_failed_tests_said_is_kept_without_backtraces() {
        let long = "line\n".repeat(MOST_LINES + 1);
        let report = read(&format!(
            "noise\n---- a::b stdout ----\nError: no\n\nfault\nStack backtrace:\n   0: x\n\
             ---- c stdout ----\n{long}\nfailures:\n    a::b\n    c\n"
        ));
        assert_eq!(report.failures.len(), 2);
        assert_eq!(report.failures[0], "a::b\n  Error: no\n  fault");
        assert_eq!(report.failures[1].lines().count(), 1 + MOST_LINES);
    }

    #[test]
    fn few_failures_are_unsteady_once_they_have_passed() {
        let failed = |tests: usize| {
            let said: String =
                (0..tests).map(|n| format!("---- t{n} stdout ----\nlate\n")).collect();
            read(&format!(
                "{said}failures:\ntest result: FAILED. 9 passed; {tests} failed; 0 ignored"
            ))
        };
        let none = Report::default();
        assert!(!failed(0).is_nearly_good(&none) && !failed(3).is_nearly_good(&none));
        let two = failed(2);
        assert!(two.is_nearly_good(&none) && !two.good());
        assert!(!two.is_nearly_good(&failed(1).unsteady()));
        assert_eq!(two.failed_tests(), ["t0", "t1"]);
        let mut all = failed(1);
        all.add(two.unsteady());
        assert_eq!(all.closing_line(), "20 passed, 1 failed, 0 skipped");
        assert_eq!(all.failures, ["t0\n  late"]);
        assert_eq!(all.unsteady, ["t0\n  late", "t1\n  late"]);
    }

    #[test]
    fn no_test_at_all_is_not_good() {
        assert!(!Report::default().good());
        assert!(read("test result: ok. 1 passed; 0 failed; 0 ignored").good());
    }
}
