//! A folder of keys: `<name>.key`, readable by its owner alone, and `<name>.pub`.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use kiln_model::Name;
use zeroize::Zeroizing;

use super::{Algorithm, KeyError, PrivateKey, PublicKey, TrustedKeys};

/// Key files are below 1 KiB.
const LIMIT: u64 = 64 << 10;

/// Keys by name, on disk.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Opens the folder and makes it, closed to others, when there is none.
    pub fn open(path: &Path) -> Result<Self, KeyError> {
        if !path.is_dir() {
            fs::create_dir_all(path).map_err(io_error("make folder", path))?;
            let mode = fs::Permissions::from_mode(0o700);
            fs::set_permissions(path, mode).map_err(io_error("protect", path))?;
        }
        Ok(Self { path: path.into() })
    }

    /// Where the private key of this name is or would be.
    pub fn private_path(&self, name: &Name) -> PathBuf {
        self.path.join(format!("{name}.key"))
    }

    /// Where the public key of this name is or would be.
    pub fn public_path(&self, name: &Name) -> PathBuf {
        self.path.join(format!("{name}.pub"))
    }

    /// Makes a key pair. Neither file may be there yet.
    pub fn create(
        &self,
        name: &Name,
        algorithm: Algorithm,
        passphrase: Option<&[u8]>,
    ) -> Result<PrivateKey, KeyError> {
        let key = PrivateKey::generate(algorithm)?;
        self.store(name, &key, passphrase)?;
        Ok(key)
    }

    /// Puts a key pair into the folder, one that was made elsewhere. Neither file may be there yet.
    pub fn store(&self, name: &Name, key: &PrivateKey, passphrase: Option<&[u8]>) -> Result<(), KeyError> {
        let public = self.public_path(name);
        if fs::symlink_metadata(&public).is_ok() {
            return Err(KeyError::Exists { path: public });
        }
        let private = self.private_path(name);
        write_new(&private, key.to_pem(passphrase)?.as_bytes(), 0o600)?;
        write_new(&public, key.public().to_pem().as_bytes(), 0o644).inspect_err(|_| {
            // A private key without its public half would stand in the way of the next try.
            let _ = fs::remove_file(&private);
        })?;
        File::open(&self.path).and_then(|folder| folder.sync_all()).map_err(io_error("flush", &self.path))
    }

    /// Trusts a key of which only the public half is known.
    pub fn store_public(&self, name: &Name, key: &PublicKey) -> Result<(), KeyError> {
        write_new(&self.public_path(name), key.to_pem().as_bytes(), 0o644)
    }

    /// Loads a private key. A file that others can read is refused.
    pub fn load(&self, name: &Name, passphrase: Option<&[u8]>) -> Result<PrivateKey, KeyError> {
        let path = self.private_path(name);
        let mut file = self.opened(name, &path)?;
        let found = file.metadata().map_err(io_error("look at", &path))?;
        let mode = found.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyError::Exposed { path, mode });
        }
        let text = read_text(&mut file, &path)?;
        PrivateKey::from_pem(&text, passphrase).map_err(in_file(&path))
    }

    /// Loads a public key.
    pub fn public(&self, name: &Name) -> Result<PublicKey, KeyError> {
        let path = self.public_path(name);
        let text = read_text(&mut self.opened(name, &path)?, &path)?;
        PublicKey::from_pem(&text).map_err(in_file(&path))
    }

    /// All public keys by name; files of other names are passed over.
    pub fn all_public(&self) -> Result<TrustedKeys, KeyError> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(io_error("list", &self.path))? {
            let file = entry.map_err(io_error("list", &self.path))?.file_name();
            let name = file.to_str().and_then(|file| file.strip_suffix(".pub"));
            names.extend(name.and_then(|name| Name::new(name).ok()));
        }
        names.sort();
        names.into_iter().map(|name| Ok((name.clone(), self.public(&name)?))).collect()
    }

    fn opened(&self, name: &Name, path: &Path) -> Result<File, KeyError> {
        File::open(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                KeyError::Unknown { name: name.to_string(), folder: self.path.clone() }
            }
            _ => io_error("open", path)(error),
        })
    }
}

fn read_text(file: &mut File, path: &Path) -> Result<Zeroizing<String>, KeyError> {
    let mut text = Zeroizing::new(String::new());
    file.take(LIMIT).read_to_string(&mut text).map_err(io_error("read", path))?;
    Ok(text)
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), KeyError> {
    let made = File::options().write(true).create_new(true).mode(mode).open(path);
    let mut file = made.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => KeyError::Exists { path: path.into() },
        _ => io_error("make", path)(error),
    })?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|error| {
        let _ = fs::remove_file(path);
        io_error("write", path)(error)
    })
}

fn io_error(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeyError {
    let path = path.to_owned();
    move |source| KeyError::Io { act, path, source }
}

fn in_file(path: &Path) -> impl FnOnce(KeyError) -> KeyError {
    let path = path.to_owned();
    move |source| KeyError::File { path, source: Box::new(source) }
}
