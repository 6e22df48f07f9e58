//! Bounds of a race: so many tries, but no longer than CI can wait.

use std::time::{Duration, Instant};

/// How long a race may go on that has shown nothing yet: on a busy machine a try takes
/// its time.
const LONGEST: Duration = Duration::from_secs(60);

/// A race that is run; dropped, it prints how many tries there were.
pub struct Race {
    name: &'static str,
    tries: u32,
    most: u32,
    begun: Instant,
    limit: Duration,
}

impl Race {
    /// At most `most` tries in 5 s, so that a test with two races is done in
    /// 10 s. With `KPEXEC_LONG` set it is 10 times as many in 28 s.
    pub fn against(name: &'static str, most: u32) -> Self {
        let (factor, seconds) =
            if std::env::var_os("KPEXEC_LONG").is_some() { (10, 28) } else { (1, 5) };
        let limit = Duration::from_secs(seconds);
        Self { name, tries: 0, most: most * factor, begun: Instant::now(), limit }
    }

    /// Counts one more try; says whether there is time for it.
    pub fn goes_on(&mut self) -> bool {
        let more = self.tries < self.most && self.begun.elapsed() < self.limit;
        self.tries += u32::from(more);
        more
    }

    /// The same where something has to be seen for it to prove anything: until it is
    /// there is time for more.
    pub fn goes_on_until(&mut self, seen: bool) -> bool {
        if seen {
            return self.goes_on();
        }
        self.tries += 1;
        self.begun.elapsed() < LONGEST
    }
}

impl Drop for Race {
    fn drop(&mut self) {
        println!("{} tries against {} in {:?}", self.tries, self.name, self.begun.elapsed());
    }
}
