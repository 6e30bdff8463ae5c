//! Secrets on their way from the provider into an instance: over the supervisor's standard input, then in a file system
//! in memory that is mounted in the supervisor's private mount namespace alone. Nothing of it ever touches a disk, and it
//! is gone with the last process that sees it.
//!
//! ```text
//! secrets/files/NAME   what the instance has at /run/secrets
//!         env/NAME     its environment variables, for its program and for commands that are executed in it
//! ```

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kiln_model::Delivery;
use kiln_secrets::Value;
use rustix::mount::{MountFlags, mount};

use super::user::User;

/// Where instances find those that are files.
pub(crate) const PLACE: &str = "/run/secrets";

/// A provider that was stopped in the middle of handing over is not waited for any longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// More than all secrets of a service ever are: 64 of the largest, in hexadecimal digits.
const LONGEST: usize = 128 << 20;

/// Secrets by name.
pub(crate) type Values = BTreeMap<String, Value>;

/// What is handed over: a length (eight bytes, big endian) and so many of a JSON object of hexadecimal digits by name.
pub(crate) fn pack(values: &Values) -> Value {
    let texts: BTreeMap<_, _> =
        values.iter().map(|(name, value)| (name, hex::encode(value.bytes()))).collect();
    let body = serde_json::to_vec(&texts).unwrap_or_default();
    let mut packed = Vec::with_capacity(body.len() + 8);
    packed.extend((body.len() as u64).to_be_bytes());
    packed.extend(Value::new(body).bytes());
    Value::new(packed)
}

/// Takes it from the starter, and no byte of what comes after it.
pub(crate) fn receive(starter: Option<&UnixStream>) -> io::Result<Values> {
    let mut starter =
        starter.ok_or_else(|| io::Error::other("whoever started this supervisor gives it none"))?;
    starter.set_read_timeout(Some(PATIENCE))?;
    let mut length = [0; 8];
    starter.read_exact(&mut length)?;
    let length = usize::try_from(u64::from_be_bytes(length)).ok().filter(|length| *length <= LONGEST);
    let too_long = || {
        io::Error::new(io::ErrorKind::InvalidData, "they are too large together: hand them over by volume")
    };
    let length = length.ok_or_else(too_long)?;
    let mut body = vec![0; length];
    starter.read_exact(&mut body)?;
    starter.set_read_timeout(None)?;
    let body = Value::new(body);
    let texts: BTreeMap<String, String> = serde_json::from_slice(body.bytes())?;
    let decoded = texts.into_iter().map(|(name, text)| Ok((name, Value::new(hex::decode(text)?))));
    decoded.collect::<Result<_, hex::FromHexError>>().map_err(io::Error::other)
}

/// Mounts the file system at `folder` and fills it. Returns the folder with the instance's files, if it has some.
pub(crate) fn keep(
    folder: &Path,
    wanted: &BTreeMap<String, Delivery>,
    values: &Values,
    user: &User,
) -> io::Result<Option<PathBuf>> {
    fs::create_dir_all(folder)?;
    let bytes: usize = values.values().map(|value| value.bytes().len().next_multiple_of(4096) + 4096).sum();
    mount_in_memory(folder, bytes + (64 << 10))?;
    let (files, env) = (folder.join("files"), folder.join("env"));
    for made in [&files, &env] {
        fs::create_dir(made)?;
    }
    fs::set_permissions(&env, fs::Permissions::from_mode(0o700))?;
    for (name, delivery) in wanted {
        let value =
            values.get(name).ok_or_else(|| io::Error::other(format!("{name} was not handed over")))?;
        match delivery {
            Delivery::Env => write(&env.join(name), value)?,
            Delivery::File => {
                write(&files.join(name), value)?;
                chown(files.join(name), Some(user.uid), Some(user.gid))?;
            }
        }
    }
    let has_files = wanted.values().any(|delivery| *delivery == Delivery::File);
    Ok(has_files.then_some(files))
}

fn write(path: &Path, value: &Value) -> io::Result<()> {
    let mut file = fs::File::options().write(true).create_new(true).mode(0o400).open(path)?;
    file.write_all(value.bytes())
}

/// Where the kernel can (6.4, tmpfs(5)), not even swap gets to see it.
fn mount_in_memory(folder: &Path, size: usize) -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let options = |more: &str| CString::new(format!("mode=755,size={size}{more}")).map_err(io::Error::from);
    let with = |options: CString| mount("kiln", folder, "tmpfs", flags, Some(options.as_c_str()));
    if with(options(",noswap")?).is_err() {
        with(options("")?)?;
    }
    Ok(())
}

/// The environment variables among those that are kept at `folder`; the caller is in the supervisor's mount namespace.
pub(crate) fn variables(
    folder: &Path,
    wanted: &BTreeMap<String, Delivery>,
) -> io::Result<Vec<(String, String)>> {
    let env = wanted.iter().filter(|(_, delivery)| **delivery == Delivery::Env);
    env.map(|(name, _)| Ok((name.clone(), fs::read_to_string(folder.join("env").join(name))?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Values {
        BTreeMap::from([("TOKEN".to_owned(), Value::new(vec![b's'; 100_000]))])
    }

    #[test]
    fn what_comes_after_the_secrets_is_left_for_others() {
        let (mut near, mut far) = UnixStream::pair().unwrap();
        let sender = std::thread::spawn(move || {
            near.write_all(pack(&some()).bytes()).unwrap();
            near.write_all(b"more\n").unwrap();
        });
        assert_eq!(receive(Some(&far)).unwrap(), some());
        sender.join().unwrap();
        let mut rest = String::new();
        far.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "more\n");
    }

    #[test]
    fn a_provider_that_dies_meanwhile_hands_nothing_over() {
        let packed = pack(&some());
        for length in [0, 7, 8, 9, packed.bytes().len() - 1] {
            let (mut near, far) = UnixStream::pair().unwrap();
            near.write_all(&packed.bytes()[..length.min(1000)]).unwrap();
            drop(near);
            assert!(receive(Some(&far)).is_err(), "{length}");
        }
        let (mut near, far) = UnixStream::pair().unwrap();
        near.write_all(&u64::MAX.to_be_bytes()).unwrap();
        assert_eq!(receive(Some(&far)).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert!(receive(None).is_err());
    }
}
