//! The messages of `v4.channel.k8s.io` and `v5.channel.k8s.io`: a channel
//! number and what it carries. Pure.

use bytes::{BufMut, Bytes, BytesMut};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
/// v5 only: the next byte is the channel that is closed.
const CLOSE: u8 = 255;

/// What stands before the payload: the WebSocket frame's header with its mask (RFC
/// 6455, 5.2) and the channel.
const HEADER: usize = 8 + 1;

/// The server takes 32 KiB at a time. A message is two full records of TLS: one
/// byte more would be a third.
pub const PAYLOAD: usize = 32 * 1024 - HEADER;

/// What the server sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    /// Output of the helper: the protocol.
    Stdout(Bytes),
    /// The helper's log.
    Stderr(Bytes),
    /// How it ended: a JSON `Status`, the last message.
    Status(Bytes),
    /// A channel we do not know, or the empty message sent on connecting.
    Nothing,
}

/// Takes a message apart.
pub fn decode(mut message: Bytes) -> Received {
    if message.len() < 2 {
        return Received::Nothing;
    }
    let payload = message.split_off(1);
    match message[0] {
        STDOUT => Received::Stdout(payload),
        STDERR => Received::Stderr(payload),
        STATUS => Received::Status(payload),
        _ => Received::Nothing,
    }
}

/// A message to be filled with stdin.
pub fn new_stdin() -> BytesMut {
    let mut message = BytesMut::with_capacity(1 + PAYLOAD);
    message.put_u8(STDIN);
    message
}

/// The end of stdin, which only v5 can say without closing everything.
pub fn close_stdin() -> Bytes {
    Bytes::from_static(&[CLOSE, STDIN])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_sorted_by_their_first_byte() {
        let decode = |bytes: &'static [u8]| decode(Bytes::from_static(bytes));
        assert_eq!(decode(b"\x01out"), Received::Stdout("out".into()));
        assert_eq!(decode(b"\x02err"), Received::Stderr("err".into()));
        assert_eq!(decode(b"\x03{}"), Received::Status("{}".into()));
        // What a server sends first, a closed channel of v5, resize, nonsense.
        for nothing in [&b"\x01"[..], b"", b"\xff\x01", b"\x04{}", b"\x63x"] {
            assert_eq!(decode(nothing), Received::Nothing, "{nothing:?}");
        }
    }
}
