//! The end of a session's output, for a client that comes back: every byte has a
//! number, counted from the session's start over both streams. Pure.

use std::collections::VecDeque;

use bytes::Bytes;
use kpexec_protocol::CHUNK;

/// How much is kept, in bytes.
pub(super) const CAPACITY: usize = 1 << 20;

/// How often it may change between the streams within what is kept.
const MOST_RUNS: usize = 4096;

/// What stays allocated while nothing is kept, in bytes.
const IDLE: usize = 4096;

/// One of the command's two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

/// Output that no client is known to have.
#[derive(Debug, Default)]
pub(super) struct Ring {
    bytes: VecDeque<u8>,
    /// Which stream they belong to, in order, each with a length.
    runs: VecDeque<(Stream, usize)>,
    /// The number of the first byte that is kept.
    start: u64,
}

impl Ring {
    /// The number of the first byte that is kept.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// The number of the byte that comes next.
    pub fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// Whether more can be added without loss.
    pub fn has_room(&self) -> bool {
        self.bytes.len() < CAPACITY && self.runs.len() < MOST_RUNS
    }

    /// Adds output.
    pub fn push(&mut self, stream: Stream, bytes: &[u8]) {
        self.bytes.extend(bytes);
        match self.runs.back_mut() {
            Some((last, length)) if *last == stream => *length += bytes.len(),
            _ => self.runs.push_back((stream, bytes.len())),
        }
    }

    /// Drops the oldest of what is too much.
    pub fn drop_excess(&mut self) {
        let mut excess = self.bytes.len().saturating_sub(CAPACITY);
        if self.runs.len() > MOST_RUNS {
            let oldest = self.runs.iter().take(self.runs.len() - MOST_RUNS);
            excess = excess.max(oldest.map(|(_, length)| length).sum());
        }
        self.trim(self.start + excess as u64);
    }

    /// Forgets what lies before the byte of this number.
    pub fn trim(&mut self, number: u64) {
        let count = number.clamp(self.start, self.end()) - self.start;
        self.start += count;
        let mut rest = usize::try_from(count).unwrap_or(usize::MAX);
        self.bytes.drain(..rest);
        while let Some((_, length)) = self.runs.front_mut() {
            if *length > rest {
                *length -= rest;
                break;
            }
            rest -= *length;
            self.runs.pop_front();
        }
        if self.bytes.is_empty() {
            self.bytes.shrink_to(IDLE);
        }
    }

    /// What comes from this number on, of one stream, a message at most.
    pub fn piece(&self, number: u64) -> Option<(Stream, Bytes)> {
        let offset = usize::try_from(number.checked_sub(self.start)?).ok()?;
        let mut run_start = 0;
        for (stream, length) in &self.runs {
            let run_end = run_start + length;
            if offset < run_end {
                let end = run_end.min(offset + CHUNK);
                return Some((*stream, self.bytes.range(offset..end).copied().collect()));
            }
            run_start = run_end;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All from `number` on.
    fn rest(ring: &Ring, mut number: u64) -> Vec<(Stream, Vec<u8>)> {
        let mut pieces = Vec::new();
        while let Some((stream, bytes)) = ring.piece(number) {
            number += bytes.len() as u64;
            pieces.push((stream, bytes.to_vec()));
        }
        assert_eq!(number.max(ring.end()), ring.end());
        pieces
    }

    #[test]
    fn streams_stay_apart_and_in_order() {
        let mut ring = Ring::default();
        ring.push(Stream::Stdout, b"ab");
        ring.push(Stream::Stdout, b"c");
        ring.push(Stream::Stderr, b"!");
        ring.push(Stream::Stdout, b"d");
        let all = [
            (Stream::Stdout, b"abc".to_vec()),
            (Stream::Stderr, b"!".to_vec()),
            (Stream::Stdout, b"d".to_vec()),
        ];
        assert_eq!(rest(&ring, 0), all);
        assert_eq!(
            rest(&ring, 2),
            [(Stream::Stdout, b"c".to_vec()), all[1].clone(), all[2].clone()]
        );
        ring.trim(3);
        assert_eq!((ring.start(), ring.end()), (3, 5));
        assert_eq!(rest(&ring, 3), all[1..]);
        // Behind what is kept, and ahead of all there is.
        assert_eq!((ring.piece(2), ring.piece(5), ring.piece(9)), (None, None, None));
        ring.trim(99);
        assert_eq!((ring.start(), ring.end()), (5, 5));
    }

    #[test]
    fn a_piece_is_a_message_at_most() {
        let mut ring = Ring::default();
        ring.push(Stream::Stdout, &[b'x'; CHUNK + 1]);
        let lengths = rest(&ring, 0).into_iter().map(|(_, bytes)| bytes.len());
        assert_eq!(lengths.collect::<Vec<_>>(), [CHUNK, 1]);
    }

    #[test]
    fn the_oldest_is_dropped_when_nobody_takes_it() {
        let mut ring = Ring::default();
        ring.push(Stream::Stdout, &vec![b'a'; CAPACITY]);
        assert!(!ring.has_room());
        ring.push(Stream::Stderr, b"end");
        ring.drop_excess();
        assert_eq!((ring.start(), ring.end()), (3, CAPACITY as u64 + 3));
        let last = rest(&ring, ring.start()).pop().unwrap();
        assert_eq!(last, (Stream::Stderr, b"end".to_vec()));

        let mut ring = Ring::default();
        for _ in 0..MOST_RUNS {
            ring.push(Stream::Stdout, b"1");
            ring.push(Stream::Stderr, b"22");
        }
        assert!(!ring.has_room());
        ring.drop_excess();
        assert_eq!(ring.runs.len(), MOST_RUNS);
        assert_eq!(ring.end(), 3 * MOST_RUNS as u64);
    }

    /// Against the plain way to do it: a list of all bytes.
    #[test]
    fn any_order_of_things_keeps_the_bytes() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..200 {
            let (mut ring, mut all) = (Ring::default(), Vec::new());
            for _ in 0..50 {
                let stream = if random.bool() { Stream::Stdout } else { Stream::Stderr };
                let bytes: Vec<u8> = (0..random.usize(0..200)).map(|_| random.u8(..)).collect();
                all.extend(bytes.iter().map(|byte| (stream, *byte)));
                ring.push(stream, &bytes);
                if random.u8(..) < 80 {
                    ring.trim(random.u64(..=ring.end()));
                }
                let from = random.u64(ring.start()..=ring.end());
                let got: Vec<_> = rest(&ring, from)
                    .into_iter()
                    .flat_map(|(stream, bytes)| bytes.into_iter().map(move |byte| (stream, byte)))
                    .collect();
                assert!(got == all[usize::try_from(from).unwrap()..]);
            }
        }
    }
}
