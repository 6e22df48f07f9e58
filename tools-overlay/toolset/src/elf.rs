//! What a build has to know of an ELF file, read with the `object` crate.

use anyhow::{Context, Result};
use object::Endianness;
use object::elf;
use object::read::elf::{
    ElfFile64, FileHeader as _, ProgramHeader as _, Rela as _, SectionHeader as _,
};

/// A program or library.
#[derive(Debug, PartialEq, Eq)]
pub struct Facts {
    /// The libraries it is linked to (DT_NEEDED).
    pub needed: Vec<String>,
    /// Whether it names a dynamic linker (PT_INTERP).
    pub interpreter: bool,
    /// Whether it has a dynamic section: a static program has none.
    pub dynamic: bool,
}

/// A part of the file that is mapped (PT_LOAD).
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// Where its program header is in the file.
    pub header: usize,
    /// Where it begins in the file.
    pub offset: usize,
    /// Bytes of the file that belong to it.
    pub size: usize,
    /// Where it begins in memory.
    pub address: u64,
    /// Whether it holds code.
    pub executable: bool,
}

type File<'a> = ElfFile64<'a, Endianness>;

fn parse(bytes: &[u8]) -> Result<File<'_>> {
    File::parse(bytes).context("it is no 64-bit ELF file")
}

/// What it is; `None` if it is no program and no library.
pub fn facts(bytes: &[u8]) -> Result<Option<Facts>> {
    if !bytes.starts_with(&elf::ELFMAG) {
        return Ok(None);
    }
    let file = parse(bytes)?;
    let kind = file.elf_header().e_type(file.endian());
    if kind != elf::ET_EXEC && kind != elf::ET_DYN {
        return Ok(None);
    }
    let has = |wanted: u32| {
        file.elf_program_headers().iter().any(|header| header.p_type(file.endian()) == wanted)
    };
    let mut facts = Facts {
        needed: Vec::new(),
        interpreter: has(elf::PT_INTERP),
        dynamic: has(elf::PT_DYNAMIC),
    };
    if facts.dynamic {
        let table = file.elf_dynamic_table()?;
        for entry in table.iter() {
            if entry.tag == elf::DT_NEEDED {
                facts.needed.push(String::from_utf8(table.string(entry)?.to_vec())?);
            }
        }
    }
    Ok(Some(facts))
}

/// Its mapped parts, in the order of the file.
pub fn segments(bytes: &[u8]) -> Result<Vec<Segment>> {
    let file = parse(bytes)?;
    let endian = file.endian();
    let first = usize::try_from(file.elf_header().e_phoff(endian))?;
    let each = usize::from(file.elf_header().e_phentsize(endian));
    let mut segments = Vec::new();
    for (number, header) in file.elf_program_headers().iter().enumerate() {
        if header.p_type(endian) == elf::PT_LOAD {
            segments.push(Segment {
                header: first + number * each,
                offset: usize::try_from(header.p_offset(endian))?,
                size: usize::try_from(header.p_filesz(endian))?,
                address: header.p_vaddr(endian),
                executable: header.p_flags(endian) & elf::PF_X != 0,
            });
        }
    }
    segments.sort_by_key(|segment| segment.offset);
    Ok(segments)
}

/// Where the file holds an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference {
    /// `lea register, [rip + distance]`: the file's offset of the distance, and
    /// the address of the next instruction, which the distance is from.
    Instruction { operand: usize, next: u64 },
    /// R_X86_64_RELATIVE: the file's offset of the address, which is without
    /// where the file will be loaded.
    Relocation { addend: usize },
}

/// Calls `found` for every address that code or relocations hold.
pub fn references(bytes: &[u8], mut found: impl FnMut(u64, Reference)) -> Result<()> {
    /// REX.W, 8d, a ModRM byte that says so, and the distance.
    const LENGTH: usize = 7;
    for segment in segments(bytes)?.iter().filter(|segment| segment.executable) {
        let code = &bytes[segment.offset..segment.offset + segment.size];
        for (at, lea) in code.windows(LENGTH).enumerate() {
            if lea[0] & 0xfb != 0x48 || lea[1] != 0x8d || lea[2] & 0xc7 != 0x05 {
                continue;
            }
            let distance = i32::from_le_bytes([lea[3], lea[4], lea[5], lea[6]]);
            let next = segment.address + (at + LENGTH) as u64;
            let operand = segment.offset + at + LENGTH - size_of::<i32>();
            let address = next.wrapping_add_signed(distance.into());
            found(address, Reference::Instruction { operand, next });
        }
    }
    relocations(bytes, found)
}

fn relocations(bytes: &[u8], mut found: impl FnMut(u64, Reference)) -> Result<()> {
    /// Of the addend in an entry.
    const OFFSET: usize = 16;
    let file = parse(bytes)?;
    let endian = file.endian();
    for section in file.elf_section_table().iter() {
        let Some((entries, _)) = section.rela(endian, bytes)? else {
            continue;
        };
        let start = usize::try_from(section.sh_offset(endian))?;
        for (number, entry) in entries.iter().enumerate() {
            if entry.r_type(endian, false) == elf::R_X86_64_RELATIVE {
                let addend = start + number * size_of_val(entry) + OFFSET;
                let address = entry.r_addend(endian).cast_unsigned();
                found(address, Reference::Relocation { addend });
            }
        }
    }
    Ok(())
}

/// The address of what is at an offset of the file.
pub fn address_of(segments: &[Segment], offset: usize) -> Option<u64> {
    let holds =
        |segment: &&Segment| (segment.offset..segment.offset + segment.size).contains(&offset);
    let segment = segments.iter().find(holds)?;
    Some(segment.address + (offset - segment.offset) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_this_machine_is_understood() {
        let this = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let facts = facts(&this).unwrap().unwrap();
        assert!(facts.interpreter && facts.dynamic);
        assert!(facts.needed.contains(&"libc.so.6".to_owned()), "{facts:?}");
        let segments = segments(&this).unwrap();
        assert!(segments.iter().any(|s| s.executable) && segments.iter().any(|s| !s.executable));
    }

    #[test]
    fn what_is_no_program_is_left_alone() {
        assert_eq!(facts(b"#!/bin/sh\n").unwrap(), None);
        assert!(facts(b"\x7fELF and no more").is_err());
    }
}
