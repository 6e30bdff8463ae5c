//! How to get rid of a finding, in words for the one who builds the image.

use crate::{Ecosystem, Package};

/// What to do; `fixed` is the first version without the vulnerability.
pub(super) fn how(package: &Package, fixed: Option<&str>) -> String {
    let name = &package.name;
    let Some(fixed) = fixed else { return unfixed(package) };
    match &package.ecosystem {
        Ecosystem::Dpkg(release) => format!(
            "{release} has it in {fixed}: run `kiln lock --update` and bake again; if {name} stays, its mirror does not have {fixed} yet"
        ),
        Ecosystem::Apk(release) | Ecosystem::Rpm(release) => format!(
            "{release} has it in {fixed}: run `kiln lock --update` to take a newer base image and bake again"
        ),
        Ecosystem::Cargo => {
            format!("run `cargo update -p {name} --precise {fixed}` and build the program again")
        }
        Ecosystem::Go if name == "stdlib" => format!("build the program again with Go {fixed} or newer"),
        Ecosystem::Go => format!("run `go get {name}@v{fixed}` and build the program again"),
        Ecosystem::PyPi => {
            format!("require {name}>={fixed} in requirements.txt or the lock file and install again")
        }
        Ecosystem::Npm => {
            format!("run `npm install {name}@{fixed}`, or `npm update {name}` if another package needs it")
        }
        Ecosystem::Maven => {
            format!("set {name} to version {fixed} in the build's dependency management and build again")
        }
        Ecosystem::Gem => format!("run `bundle update {name}` with {fixed} or newer allowed in the Gemfile"),
        Ecosystem::NuGet => format!("run `dotnet add package {name} --version {fixed}` and publish again"),
        Ecosystem::Composer => format!(
            "run `composer require {name}:^{fixed}`, or `composer update {name}` if another package needs it"
        ),
    }
}

fn unfixed(package: &Package) -> String {
    let name = &package.name;
    let instead = "remove it from the image, or record why it does no harm (VEX statement or exception)";
    match &package.ecosystem {
        Ecosystem::Dpkg(release) | Ecosystem::Apk(release) | Ecosystem::Rpm(release) => {
            format!("{release} has no fixed version of {name} yet: {instead}")
        }
        _ => format!("no fixed version of {name} is known: {instead}"),
    }
}
