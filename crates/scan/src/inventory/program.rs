//! ELF programs that carry what they were built from: Rust (cargo-auditable) and Go.

use auditable_serde::{DependencyKind, VersionInfo};

use super::{Family, Finding, Findings, go};

/// The crate list of cargo-auditable, unpacked; real ones are below 100 KiB.
const AUDIT_LIMIT: usize = 8 << 20;

pub(crate) fn read(bytes: &[u8]) -> Findings {
    let mut findings = go::read(bytes);
    match auditable_info::audit_info_from_slice(bytes, AUDIT_LIMIT) {
        Ok(info) => findings.packages.extend(crates(&info)),
        // Most programs; and what is no program at all to this reader.
        Err(auditable_info::Error::NoAuditData | auditable_info::Error::BinaryParsing(_)) => {}
        Err(error) => findings.problems.push(format!("its list of crates cannot be read: {error}")),
    }
    findings
}

/// What is in the program. Crates that only helped to build it are not.
fn crates(info: &VersionInfo) -> Vec<Finding> {
    let runtime = |one: &&auditable_serde::Package| one.kind == DependencyKind::Runtime;
    let label = |one: &auditable_serde::Package| format!("{} {}", one.name, one.version);
    let finding = |one: &auditable_serde::Package| {
        let mut found = Finding::new(Family::Cargo, &one.name, one.version.to_string());
        found.offers = vec![label(one)];
        let needs = one.dependencies.iter().filter_map(|index| info.packages.get(*index));
        found.needs = needs.filter(runtime).map(|one| vec![label(one)]).collect();
        found
    };
    info.packages.iter().filter(runtime).map(finding).collect()
}
