//! A line on the terminal that says how far the helper is, while it starts. It is
//! gone before anything else is written.

use std::io::IsTerminal as _;
use std::time::Duration;

use kpexec_protocol::Starting;
use tokio::time::{Instant, sleep};

use crate::cli::Cli;
use crate::helper_pod::Phases;
use crate::report;
use crate::terminal;

/// A helper that is there answers sooner.
const AT_ONCE: Duration = Duration::from_millis(300);
/// How often the seconds are looked at.
const TICK: Duration = Duration::from_millis(200);

/// Shows the phases for as long as it runs, which is until it is dropped.
pub async fn show(cli: &Cli, phases: &Phases) -> std::convert::Infallible {
    let term = std::env::var("TERM").unwrap_or_default();
    if !is_wanted(cli, std::io::stderr().is_terminal(), &term) {
        return std::future::pending().await;
    }
    let (begun, mut heard) = (Instant::now(), phases.listen());
    let (mut trail, mut line) = (Trail::default(), Line { shown: false });
    loop {
        let now = begun.elapsed();
        trail.follow(&heard.borrow_and_update(), now);
        if now >= AT_ONCE {
            line.draw(&trail.text(now, terminal::size().columns));
        }
        tokio::select! {
            _ = heard.changed() => {}
            () = sleep(TICK) => {}
        }
    }
}

/// `-v` says the same in lines.
fn is_wanted(cli: &Cli, is_terminal: bool, term: &str) -> bool {
    is_terminal && !cli.quiet && !cli.verbosity.is_on() && !["", "dumb"].contains(&term)
}

/// The phases, and since when each is known.
#[derive(Default)]
struct Trail {
    node: String,
    phases: Vec<(String, Duration)>,
}

impl Trail {
    /// What was told before keeps its time.
    fn follow(&mut self, told: &Starting, now: Duration) {
        let pairs = self.phases.iter().zip(&told.phases);
        let known = pairs.take_while(|((before, _), phase)| before == *phase).count();
        self.phases.truncate(known);
        self.phases.extend(told.phases[known..].iter().map(|phase| (phase.clone(), now)));
        self.node.clone_from(&told.node);
    }

    /// The line, cut to a terminal's width; empty, there is nothing to tell.
    fn text(&self, now: Duration, columns: u32) -> String {
        let ends = self.phases.iter().skip(1).map(|(_, since)| *since).chain([now]);
        let phase = |((phase, since), end): (&(String, Duration), Duration)| match end
            .saturating_sub(*since)
            .as_secs()
        {
            0 => phase.clone(),
            seconds => format!("{phase} ({seconds} s)"),
        };
        let phases: Vec<String> = self.phases.iter().zip(ends).map(phase).collect();
        if phases.is_empty() {
            return String::new();
        }
        // The phases have the kubelet's words. An escape is as wide as it looks.
        let text = report::escape(&format!("helper on {}: {}", self.node, phases.join(" → ")));
        // In the last column some terminals go on to the next line.
        let width = if columns == 0 { 80 } else { columns } as usize - 1;
        text.chars().take(width).collect()
    }
}

/// What is on the terminal; dropped, it is erased.
struct Line {
    shown: bool,
}

impl Line {
    fn draw(&mut self, text: &str) {
        if self.shown || !text.is_empty() {
            self.shown = true;
            report::passing(text);
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.shown {
            self.draw("");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(phases: &[&str]) -> Starting {
        Starting { node: "node1".into(), phases: phases.iter().map(ToString::to_string).collect() }
    }

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn each_phase_has_its_time() {
        let mut trail = Trail::default();
        assert_eq!(trail.text(ms(400), 80), "");
        trail.follow(&told(&["created"]), ms(100));
        assert_eq!(trail.text(ms(400), 80), "helper on node1: created");
        trail.follow(&told(&["scheduled"]), ms(1000));
        trail.follow(&told(&["scheduled", "pulling image"]), ms(1500));
        assert_eq!(trail.text(ms(13_600), 80), "helper on node1: scheduled → pulling image (12 s)");
        trail.follow(&told(&["scheduled", "pulling image", "starting"]), ms(13_900));
        assert_eq!(
            trail.text(ms(14_000), 80),
            "helper on node1: scheduled → pulling image (12 s) → starting"
        );
        // Another pod, in the place of one that was deleted.
        trail.follow(&told(&["created"]), ms(20_000));
        assert_eq!(trail.text(ms(21_000), 80), "helper on node1: created (1 s)");
    }

    #[test]
    fn it_is_never_wider_than_the_terminal() {
        let mut trail = Trail::default();
        trail.follow(&told(&["scheduled", "starting"]), ms(0));
        assert_eq!(trail.text(ms(0), 30), "helper on node1: scheduled → ");
        assert_eq!(trail.text(ms(0), 1), "");
        assert_eq!(trail.text(ms(0), 0), "helper on node1: scheduled → starting");
    }

    #[test]
    fn what_others_wrote_is_not_raw() {
        let mut trail = Trail::default();
        let told = Starting { node: "n\x1b[2J".into(), phases: vec!["pull\r\u{9b}K".into()] };
        trail.follow(&told, ms(0));
        assert_eq!(trail.text(ms(0), 80), "helper on n\\x1b[2J: pull\\x0d\\u{9b}K");
        assert_eq!(trail.text(ms(0), 14), "helper on n\\x");
    }

    #[test]
    fn it_is_for_terminals_that_can_erase_it_and_for_who_wants_it() {
        let wanted = |flags: &str, is_terminal, term| {
            let args = format!("kpexec -i {flags} web");
            let cli = Cli::parse_args(args.split_whitespace().map(Into::into)).unwrap();
            is_wanted(&cli, is_terminal, term)
        };
        assert!(wanted("", true, "xterm"));
        for (flags, is_terminal, term) in [
            ("", false, "xterm"),
            ("", true, "dumb"),
            ("", true, ""),
            ("-q", true, "xterm"),
            ("-v", true, "xterm"),
        ] {
            assert!(!wanted(flags, is_terminal, term), "{flags} {is_terminal} {term}");
        }
    }
}
