//! The keys that leave a session without ending it, as docker(1) has them. Pure.

use bytes::{Bytes, BytesMut};

/// Looks for the keys in what is typed.
#[derive(Debug)]
pub struct Detach {
    /// Empty: there are none.
    keys: Vec<u8>,
    /// How many of them were typed just now, which are held back.
    held: usize,
}

impl Detach {
    /// Looks for these, one after another.
    pub fn new(keys: Vec<u8>) -> Self {
        Self { keys, held: 0 }
    }

    /// Takes in what was typed; gives what of it is for the command, and whether
    /// the keys came. What came behind them is not looked at.
    pub fn read(&mut self, typed: &Bytes) -> (Bytes, bool) {
        if self.keys.is_empty() {
            return (typed.clone(), false);
        }
        let mut keys = BytesMut::with_capacity(self.held + typed.len());
        for &byte in typed {
            while self.held > 0 && self.keys[self.held] != byte {
                let kept = self.shorter();
                keys.extend_from_slice(&self.keys[..self.held - kept]);
                self.held = kept;
            }
            if self.keys[self.held] != byte {
                keys.extend([byte]);
                continue;
            }
            self.held += 1;
            if self.held == self.keys.len() {
                self.held = 0;
                return (keys.freeze(), true);
            }
        }
        (keys.freeze(), false)
    }

    /// Whether keys are held back.
    pub fn holds(&self) -> bool {
        self.held > 0
    }

    /// What is held back, which is not to be the keys.
    pub fn release(&mut self) -> Bytes {
        let held = Bytes::copy_from_slice(&self.keys[..self.held]);
        self.held = 0;
        held
    }

    /// How much of what is held back may still begin the keys, if its first does
    /// not.
    fn shorter(&self) -> usize {
        let held = &self.keys[..self.held];
        (1..self.held)
            .find(|from| self.keys.starts_with(&held[*from..]))
            .map_or(0, |from| self.held - from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is for the command, key by key, and whether it was left.
    fn typed(keys: &[u8], text: &'static [u8]) -> (Vec<u8>, bool) {
        let mut detach = Detach::new(keys.to_vec());
        let mut all = Vec::new();
        for byte in text {
            let (bytes, left) = detach.read(&Bytes::copy_from_slice(&[*byte]));
            all.extend_from_slice(&bytes);
            if left {
                return (all, true);
            }
        }
        let at_once = Detach::new(keys.to_vec()).read(&Bytes::from_static(text));
        assert_eq!(at_once, (all.clone().into(), false));
        all.extend_from_slice(&detach.release());
        (all, false)
    }

    #[test]
    fn the_keys_leave_and_do_not_reach_the_command() {
        assert_eq!(typed(b"\x10\x11", b"ls\x10\x11rest"), (b"ls".to_vec(), true));
        assert_eq!(typed(b"\x10\x11", b"\x10\x10\x11"), (b"\x10".to_vec(), true));
        assert_eq!(typed(b"aab", b"aaab"), (b"a".to_vec(), true));
        assert_eq!(typed(b"abab", b"abaabab"), (b"aba".to_vec(), true));
    }

    #[test]
    fn all_else_does() {
        for text in [&b"\x10x\x10"[..], b"\x11\x10", b"", b"\x10"] {
            assert_eq!(typed(b"\x10\x11", text), (text.to_vec(), false));
        }
        assert_eq!(typed(b"", b"\x10\x11"), (b"\x10\x11".to_vec(), false));
    }
}
