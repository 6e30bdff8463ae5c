//! Where Kiln keeps its state on this machine.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::error::{Failure, Kind, Result};

/// The folder named by `KILN_HOME`; else `/var/lib/kiln` for root; else `$XDG_DATA_HOME/kiln` or
/// `~/.local/share/kiln`.
#[derive(Clone, Debug)]
pub(crate) struct Home(PathBuf);

impl Home {
    /// Finds the folder; it need not exist yet.
    pub(crate) fn find() -> Result<Self> {
        Self::choose(|name| std::env::var_os(name), rustix::process::geteuid().is_root())
    }

    fn choose(env: impl Fn(&str) -> Option<OsString>, root: bool) -> Result<Self> {
        let set = |name| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(home) = set("KILN_HOME") {
            let absolute = std::path::absolute(&home)?;
            return Ok(Self(absolute));
        }
        if root {
            return Ok(Self("/var/lib/kiln".into()));
        }
        set("XDG_DATA_HOME")
            .or_else(|| set("HOME").map(|home| home.join(".local/share")))
            .map(|data| Self(data.join("kiln")))
            .ok_or_else(|| {
                Failure::new(Kind::Failed, "cannot tell where to keep images and state")
                    .hint("set KILN_HOME to a folder, or HOME to your home folder")
            })
    }

    /// The folder itself.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The image store.
    pub(crate) fn store(&self) -> PathBuf {
        self.0.join("store")
    }

    /// The control plane's socket.
    pub(crate) fn serve_socket(&self) -> PathBuf {
        self.0.join("run/serve.sock")
    }

    /// The folder of one instance.
    pub(crate) fn instance(&self, id: &str) -> PathBuf {
        self.0.join("instances").join(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_setting_that_is_there_wins() {
        let home = |vars: &[(&str, &str)], root| {
            let vars: Vec<_> = vars.iter().map(|(k, v)| (k.to_string(), OsString::from(v))).collect();
            let find = |name: &str| vars.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
            Home::choose(find, root).map(|home| home.0)
        };
        assert_eq!(home(&[("KILN_HOME", "/k"), ("HOME", "/h")], true).unwrap(), PathBuf::from("/k"));
        assert_eq!(home(&[("KILN_HOME", ""), ("HOME", "/h")], true).unwrap(), PathBuf::from("/var/lib/kiln"));
        assert_eq!(
            home(&[("XDG_DATA_HOME", "/d"), ("HOME", "/h")], false).unwrap(),
            PathBuf::from("/d/kiln")
        );
        assert_eq!(home(&[("HOME", "/h")], false).unwrap(), PathBuf::from("/h/.local/share/kiln"));
        assert!(home(&[], false).is_err());
    }
}
