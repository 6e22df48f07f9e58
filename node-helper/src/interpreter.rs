//! What a program names to be run by: the interpreter of its ELF header, or the
//! one of its first line. Pure, and read from files that nobody vouches for.

use object::elf::{FileHeader32, FileHeader64};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, FileKind};

/// The path that execve(2) looks for besides the program's own, given the first
/// bytes of the program.
pub fn interpreter(head: &[u8]) -> Option<Vec<u8>> {
    if let Some(rest) = head.strip_prefix(b"#!") {
        let line = rest.split(|byte| *byte == b'\n').next()?;
        let mut words = line.split(|byte| matches!(byte, b' ' | b'\t'));
        return words.find(|word| !word.is_empty()).map(<[u8]>::to_vec);
    }
    match FileKind::parse(head).ok()? {
        FileKind::Elf32 => named_by::<FileHeader32<Endianness>>(head),
        FileKind::Elf64 => named_by::<FileHeader64<Endianness>>(head),
        _ => None,
    }
}

fn named_by<Header: FileHeader<Endian = Endianness>>(head: &[u8]) -> Option<Vec<u8>> {
    let header = Header::parse(head).ok()?;
    let endian = header.endian().ok()?;
    let segments = header.program_headers(endian, head).ok()?;
    segments
        .iter()
        .find_map(|segment| segment.interpreter(endian, head).ok().flatten())
        .map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(head: &[u8]) -> Option<String> {
        interpreter(head).map(|path| String::from_utf8(path).unwrap())
    }

    #[test]
    fn a_script_names_the_first_word_of_its_first_line() {
        assert_eq!(text(b"#!/bin/sh\necho /bin/bash\n").unwrap(), "/bin/sh");
        assert_eq!(text(b"#! \t/usr/bin/env\tpython3 -u\n").unwrap(), "/usr/bin/env");
        // A file from another system: the kernel looks for just this.
        assert_eq!(text(b"#!/bin/sh\r\n").unwrap(), "/bin/sh\r");
        assert_eq!(text(b"#!\n/bin/sh"), None);
    }

    #[test]
    fn a_program_names_its_loader() {
        // Every dynamic program of this machine names the one of its ABI.
        let head = std::fs::read("/bin/bash").unwrap();
        assert_eq!(text(&head[..4096]).unwrap(), "/lib64/ld-linux-x86-64.so.2");
        let busybox = std::fs::read("/bin/busybox").unwrap();
        assert_eq!(text(&busybox), None, "a static one names none");
    }

    #[test]
    fn rubbish_names_nothing() {
        let mut head = std::fs::read("/bin/bash").unwrap();
        head.truncate(4096);
        assert_eq!(text(&head[..100]), None, "cut off");
        assert_eq!(text(b""), None);
        assert_eq!(text(b"\x7fELF"), None);
        // Offsets, sizes and counts beyond the file.
        for at in 0x20..0x40 {
            let mut broken = head.clone();
            broken[at] = 0xff;
            let _whatever = interpreter(&broken);
        }
    }
}
