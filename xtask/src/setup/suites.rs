//! Programs that only later releases of Debian have: taken from there without the system's apt knowing.
//!
//! An apt root of our own names one suite on the host's own mirror, verified with Debian's keys; packages are
//! downloaded and unpacked below the cache folder, never installed. What is taken are Go programs, which need nothing
//! but a C library that Debian 12 is new enough for; each is started once to see that.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::setup::{self, python::tools};
use crate::{Cmd, Error, cache};

/// Suite and the packages taken from it; each brings the program of its own name.
const NEEDS: &[(&str, &[&str])] = &[("trixie", &["cosign", "goss", "oras"]), ("sid", &["crane"])];

const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Brings the programs that are missing.
pub(super) fn ensure() -> Result<(), Error> {
    for (suite, packages) in NEEDS {
        let missing: Vec<&str> =
            packages.iter().copied().filter(|package| !tools().join(package).is_file()).collect();
        if !missing.is_empty() {
            println!("fetching {} from Debian {suite} into {}", missing.join(" "), unpacked().display());
            fetch(suite, &missing)?;
        }
    }
    Ok(())
}

/// The folder with one unpacked package per folder.
fn unpacked() -> PathBuf {
    cache().join("debian")
}

fn fetch(suite: &str, packages: &[&str]) -> Result<(), Error> {
    if setup::find("apt-get").is_none() {
        return Err(Error::Machine(format!(
            "{} can only be had with apt-get, which this machine has not\n  \
             put them on the PATH by other means, or run this on Debian",
            packages.join(" ")
        )));
    }
    let root = Root::new(suite)?;
    root.apt().arg("update").read()?;
    root.apt().arg("download").args(packages).read()?;
    for package in packages {
        let program = root.unpack(package)?;
        // Started before it is linked, so that a program that cannot run here is not taken for a present one.
        Cmd::new(program).arg("--help").read()?;
        link(package)?;
    }
    Ok(())
}

/// Relative, so that the cache folder can be moved.
fn link(package: &str) -> Result<(), Error> {
    let link = tools().join(package);
    fs::create_dir_all(tools()).map_err(Error::file("create", tools()))?;
    if link.is_symlink() {
        fs::remove_file(&link).map_err(Error::file("replace", &link))?;
    }
    symlink(format!("../../debian/{package}/usr/bin/{package}"), &link).map_err(Error::file("create", &link))
}

fn remove(folder: &Path) -> Result<(), Error> {
    if folder.exists() { fs::remove_dir_all(folder).map_err(Error::file("remove", folder)) } else { Ok(()) }
}

/// An apt root that knows one suite and no installed package; gone when dropped.
struct Root(PathBuf);

impl Root {
    fn new(suite: &str) -> Result<Self, Error> {
        let mirror = host_mirror()?;
        let host = Cmd::new("apt-config").arg("dump").read()?;
        let root = Self(unpacked().join(format!(".apt-{suite}-{}", std::process::id())));
        remove(&root.0)?;
        for folder in ["etc/apt", "var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "downloads"]
        {
            let folder = root.0.join(folder);
            fs::create_dir_all(&folder).map_err(Error::file("create", &folder))?;
        }
        root.write("etc/apt/sources.list", &format!("deb [signed-by={KEYS}] {mirror} {suite} main\n"))?;
        root.write("status", "")?;
        root.write("apt.conf", &configuration(&root.0, &host))?;
        Ok(root)
    }

    fn write(&self, name: &str, text: &str) -> Result<(), Error> {
        let file = self.0.join(name);
        fs::write(&file, text).map_err(Error::file("write", &file))
    }

    /// `APT_CONFIG` is read before everything else, so apt never comes to the system's own configuration and hooks.
    fn apt(&self) -> Cmd {
        Cmd::new("apt-get").arg("-q").env("APT_CONFIG", self.0.join("apt.conf")).dir(self.0.join("downloads"))
    }

    /// Unpacks a downloaded archive inside the root and moves it to its place whole; gives the program.
    fn unpack(&self, package: &str) -> Result<PathBuf, Error> {
        let part = self.0.join(package);
        Cmd::new("dpkg-deb").arg("-x").arg(self.archive(package)?).arg(&part).read()?;
        let place = unpacked().join(package);
        remove(&place)?;
        fs::rename(&part, &place).map_err(Error::file("create", &place))?;
        Ok(place.join("usr/bin").join(package))
    }

    fn archive(&self, package: &str) -> Result<PathBuf, Error> {
        let folder = self.0.join("downloads");
        let files = fs::read_dir(&folder).map_err(Error::file("read", &folder))?;
        let mut names = files.flatten().map(|file| file.path());
        names
            .find(|path| path.file_name().is_some_and(|name| holds(name, package)))
            .ok_or_else(|| Error::Machine(format!("apt-get download said nothing and brought no {package}")))
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        // What stays behind is removed by hand or never: it is a hidden folder of the cache.
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Whether a file name is that of an archive of the package.
fn holds(name: &OsStr, package: &str) -> bool {
    name.to_str().is_some_and(|name| {
        name.strip_suffix(".deb").and_then(|name| name.split('_').next()).is_some_and(|of| of == package)
    })
}

/// The private root's configuration: how the host reaches its mirrors (proxies, retries, certificates), and nothing
/// else of the host's. Its clock may be wrong and its mirror a snapshot of long ago, so dates do not count.
fn configuration(root: &Path, host: &str) -> String {
    const OURS: [&str; 4] =
        ["Acquire::IndexTargets", "Acquire::Languages", "Acquire::Changelogs", "Acquire::cdrom"];
    let reach = host
        .lines()
        .filter(|line| line.starts_with("Acquire::") && !OURS.iter().any(|own| line.starts_with(own)));
    let root = root.display();
    let own = format!(
        "Dir \"{root}\";\nDir::State::status \"{root}/status\";\nAPT::Sandbox::User \"root\";\n\
         Acquire::Check-Valid-Until \"false\";\nAcquire::Languages \"none\";\n"
    );
    reach.map(|line| format!("{line}\n")).collect::<String>() + &own
}

/// The mirror that the host takes Debian itself from.
fn host_mirror() -> Result<String, Error> {
    let file = "/etc/os-release";
    let system = fs::read_to_string(file).map_err(Error::file("read", file))?;
    let format = "$(REPO_URI) $(RELEASE) $(COMPONENT)";
    let targets =
        Cmd::new("apt-get").args(["indextargets", "--format", format, "Created-By: Packages"]).read()?;
    mirror(&system, &targets).map(str::to_owned).ok_or_else(|| {
        Error::Machine(
            "apt on this machine has no source of Debian's own packages (component main), so there is no mirror to \
             take newer ones from\n  add one below /etc/apt/sources.list.d, or run this on Debian"
                .into(),
        )
    })
}

/// The address of the first index that is Debian's own: its `main`, for the release that the system says it is or
/// under one of Debian's moving names. Others' archives use the release's name too, but call their components
/// differently, and would fail the check of signatures.
fn mirror<'a>(system: &str, targets: &'a str) -> Option<&'a str> {
    let value = |key: &str| {
        let line = system.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.map(|value| value.trim_matches('"'))
    };
    value("ID").filter(|id| *id == "debian")?;
    let release = value("VERSION_CODENAME").unwrap_or("stable");
    let moving = ["oldstable", "stable", "testing", "unstable", "sid"];
    targets.lines().find_map(|line| match line.split_whitespace().collect::<Vec<_>>()[..] {
        [address, of, "main"] if of == release || moving.contains(&of) => Some(address),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN: &str = "NAME=\"Debian GNU/Linux\"\nVERSION_CODENAME=bookworm\nID=debian\n";
    const TARGETS: &str = "https://other.test/tools bookworm stable\nhttp://mirror.test/security bookworm-security main\n\
         http://mirror.test/debian/ bookworm main\nhttp://mirror.test/debian/ bookworm contrib\n";

    #[test]
    fn each_program_comes_from_one_suite() {
        let mut programs: Vec<_> = NEEDS.iter().flat_map(|(_, packages)| *packages).collect();
        let all = programs.len();
        programs.sort();
        programs.dedup();
        assert_eq!(programs.len(), all);
    }

    #[test]
    fn the_mirror_is_the_one_of_debian_itself() {
        assert_eq!(mirror(DEBIAN, TARGETS), Some("http://mirror.test/debian/"));
        let moving = "http://mirror.test/debian/ unstable main\n";
        assert_eq!(mirror("ID=\"debian\"\n", moving), Some("http://mirror.test/debian/"));
    }

    #[test]
    fn there_is_no_mirror_where_debian_is_not() {
        assert_eq!(mirror("ID=ubuntu\nID_LIKE=debian\nVERSION_CODENAME=bookworm\n", TARGETS), None);
        assert_eq!(mirror(DEBIAN, "https://other.test/tools bookworm stable\n"), None);
        assert_eq!(mirror(DEBIAN, ""), None);
    }

    #[test]
    fn the_private_root_keeps_how_the_host_reaches_its_mirror_and_nothing_else() {
        let host = "Dir \"/\";\nAcquire \"\";\nAcquire::http::Proxy \"http://proxy.test:3128\";\n\
             Acquire::IndexTargets::deb::DEP-11::MetaKey \"x\";\nAcquire::Check-Valid-Until \"true\";\n\
             APT::Update::Post-Invoke:: \"rm -f /var/cache/apt/*.bin\";\n";
        let text = configuration(Path::new("/cache/root"), host);
        assert!(text.starts_with("Acquire::http::Proxy \"http://proxy.test:3128\";\n"), "{text}");
        assert!(
            !text.contains("Invoke") && !text.contains("IndexTargets") && !text.contains("Dir \"/\""),
            "{text}"
        );
        let last = text.lines().rfind(|line| line.contains("Check-Valid-Until"));
        assert_eq!(last, Some("Acquire::Check-Valid-Until \"false\";"));
        assert!(text.contains("Dir \"/cache/root\";\n"), "{text}");
    }

    #[test]
    fn an_archive_is_known_by_the_whole_name_of_its_package() {
        assert!(holds(OsStr::new("oras_1.2.0-1+b9_amd64.deb"), "oras"));
        assert!(!holds(OsStr::new("oras-cli_1.2.0_amd64.deb"), "oras"));
        assert!(!holds(OsStr::new("oras_1.2.0_amd64.deb.part"), "oras"));
    }
}
