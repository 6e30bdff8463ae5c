//! Why a program could not be executed, told to people.

use std::env::consts::ARCH;

use super::tree::{Tree, file_type};

/// First bytes of a file that are looked at: an ELF header, or an interpreter line (at most 256 bytes, execve(2)).
const HEAD: usize = 256;
/// Where ELF keeps the machine (elf(5), `e_machine`), in the file's byte order.
const ELF_MACHINE: usize = 18;

/// Explains why `program`, as the image or a service names it, could not be executed; `errno` is what the kernel said.
pub(crate) fn execution(tree: &Tree, program: &str, workdir: &str, path: &str, errno: i32) -> String {
    let full = if program.starts_with('/') {
        program.to_owned()
    } else if program.contains('/') {
        format!("{}/{program}", workdir.trim_end_matches('/'))
    } else {
        let mut found = path.split(':').map(|folder| format!("{folder}/{program}"));
        match found.find(|full| tree.stat(full).is_ok()) {
            Some(full) => full,
            None => return format!("{program} is in no folder of PATH ({path}) in the image"),
        }
    };
    let Ok(stat) = tree.stat(&full) else { return format!("{full} is not in the image") };
    if file_type(&stat).is_dir() {
        return format!("{full} is a folder, not a program");
    }
    if stat.st_mode & 0o111 == 0 {
        return format!("{full} is not executable: give it mode 0755 in the image");
    }
    let head = tree.head(&full, HEAD).unwrap_or_default();
    match errno {
        // ENOENT too: the machine may know an emulator for it that is not in the image.
        libc::ENOENT | libc::ENOEXEC if machine(&head).is_some_and(|machine| machine != ARCH) => format!(
            "{full} is built for another machine: for {}, and this one is {ARCH}",
            machine(&head).unwrap_or_default()
        ),
        libc::ENOENT => missing_interpreter(tree, &full, &head),
        libc::ENOEXEC if machine(&head).is_some() => {
            format!("{full} is not a program that this kernel can execute")
        }
        libc::ENOEXEC => format!("{full} is neither a program nor a script that begins with #!"),
        libc::EACCES => format!(
            "the image's user may not execute {full}: look at its mode and at those of the folders above"
        ),
        other => format!("{full} cannot be executed: {}", std::io::Error::from_raw_os_error(other)),
    }
}

fn missing_interpreter(tree: &Tree, full: &str, head: &[u8]) -> String {
    if let Some(interpreter) = interpreter(head)
        && tree.stat(interpreter).is_err()
    {
        return format!("{full} cannot be executed: its interpreter {interpreter} is not in the image");
    }
    if head.starts_with(b"\x7fELF") {
        return format!(
            "{full} cannot be executed: its dynamic loader is not in the image; add the C library, or link it statically"
        );
    }
    format!("{full} cannot be executed: something it needs is not in the image")
}

/// The program of a `#!` line.
fn interpreter(head: &[u8]) -> Option<&str> {
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    std::str::from_utf8(line).ok()?.split_ascii_whitespace().next()
}

/// The machine of an ELF file by the names of Rust's targets; numbers from elf.h.
fn machine(head: &[u8]) -> Option<&'static str> {
    if !head.starts_with(b"\x7fELF") {
        return None;
    }
    let bytes = [*head.get(ELF_MACHINE)?, *head.get(ELF_MACHINE + 1)?];
    let number = if head.get(5) == Some(&2) { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) };
    Some(match number {
        3 => "x86",
        20 => "powerpc",
        21 => "powerpc64",
        22 => "s390x",
        40 => "arm",
        62 => "x86_64",
        183 => "aarch64",
        243 => "riscv64",
        _ => "an unknown architecture",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_told_apart() {
        let mut head = b"\x7fELF\x02\x01\x01".to_vec();
        head.resize(64, 0);
        head[ELF_MACHINE] = 183;
        assert_eq!(machine(&head), Some("aarch64"));
        head[5] = 2;
        head[ELF_MACHINE..=ELF_MACHINE + 1].copy_from_slice(&[0, 22]);
        assert_eq!(machine(&head), Some("s390x"));
        assert_eq!(machine(b"#!/bin/sh\n"), None);
        assert_eq!(machine(b"\x7fELF"), None);
    }

    #[test]
    fn interpreters_are_read_from_the_first_line() {
        assert_eq!(interpreter(b"#! /usr/bin/env python3\nx"), Some("/usr/bin/env"));
        assert_eq!(interpreter(b"#!\n"), None);
        assert_eq!(interpreter(b"hello"), None);
    }
}
