//! `owner = "user:group"`, looked up in the image.

use super::CopyError;
use crate::skeleton::Skeleton;

/// The numbers for an owner; `None` when the step names none. A user without a group has his own from
/// `/etc/passwd`, a bare number has the group of the same number, as `chown`-like options of other builders do.
pub(super) fn find(owner: Option<&str>, image: &Skeleton) -> Result<Option<(u32, u32)>, CopyError> {
    let Some(owner) = owner else { return Ok(None) };
    let (user, group) = match owner.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (owner, None),
    };
    let (uid, own_group) = user_of(user, image.passwd())?;
    let gid = match group {
        Some(group) => group_of(group, image.group())?,
        None => own_group,
    };
    Ok(Some((uid, gid)))
}

fn user_of(name: &str, passwd: &str) -> Result<(u32, u32), CopyError> {
    if let Ok(number) = name.parse::<u32>() {
        let known = passwd.lines().map(fields).find(|fields| number_at(fields, 2) == Some(number));
        return Ok((number, known.and_then(|fields| number_at(&fields, 3)).unwrap_or(number)));
    }
    let entry = passwd.lines().map(fields).find(|fields| fields[0] == name);
    let numbers = entry.and_then(|fields| Some((number_at(&fields, 2)?, number_at(&fields, 3)?)));
    match (numbers, name) {
        (Some(numbers), _) => Ok(numbers),
        (None, "root") => Ok((0, 0)),
        (None, _) => Err(CopyError::Owner { what: "user", name: name.into() }),
    }
}

fn group_of(name: &str, group: &str) -> Result<u32, CopyError> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let entry = group.lines().map(fields).find(|fields| fields[0] == name);
    match (entry.and_then(|fields| number_at(&fields, 2)), name) {
        (Some(number), _) => Ok(number),
        (None, "root") => Ok(0),
        (None, _) => Err(CopyError::Owner { what: "group", name: name.into() }),
    }
}

fn fields(line: &str) -> Vec<&str> {
    line.split(':').collect()
}

fn number_at(fields: &[&str], index: usize) -> Option<u32> {
    fields.get(index)?.trim().parse().ok()
}
