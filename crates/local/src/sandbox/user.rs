//! The user an image asks for: `user[:group]`, names or numbers, looked up in the image's own tables.
//!
//! The rules are Docker's (the `USER` instruction): a named user brings its primary group and the groups that list
//! it; a bare number that no line knows has group 0; an explicit group replaces all of them.

use std::io;

use super::tree::Tree;

/// A user as the kernel knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    /// Home folder; `/` when the image says nothing.
    pub(crate) home: Option<String>,
}

/// Why a user cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UserError {
    #[error("cannot read {table} of the image")]
    Table {
        table: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("user {0:?} is not in /etc/passwd of the image: add it there, or give a number")]
    NoUser(String),
    #[error("group {0:?} is not in /etc/group of the image: add it there, or give a number")]
    NoGroup(String),
}

/// Looks a user up in an image's tree.
pub(crate) fn look_up(tree: &Tree, wanted: Option<&str>) -> Result<User, UserError> {
    let read = |table: &'static str| tree.table(table).map_err(|source| UserError::Table { table, source });
    resolve(wanted.unwrap_or(""), &read("/etc/passwd")?, &read("/etc/group")?)
}

fn resolve(wanted: &str, passwd: &str, group: &str) -> Result<User, UserError> {
    let (name, group_name) = match wanted.split_once(':') {
        Some((name, group)) => (name, Some(group).filter(|text| !text.is_empty())),
        None => (wanted, None),
    };
    let name = if name.is_empty() { "0" } else { name };
    let line = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.len() >= 4 && (fields[0] == name || fields[2] == name));
    let number = |text: &str| text.parse::<u32>().ok();
    let mut user = match &line {
        Some(fields) => User {
            uid: number(fields[2]).ok_or_else(|| UserError::NoUser(name.into()))?,
            gid: number(fields[3]).ok_or_else(|| UserError::NoUser(name.into()))?,
            groups: groups_of(fields[0], group),
            home: fields.get(5).filter(|home| home.starts_with('/')).map(|home| (*home).to_owned()),
        },
        None => User { uid: number(name).ok_or_else(|| UserError::NoUser(name.into()))?, ..User::default() },
    };
    if let Some(wanted) = group_name {
        user.gid = group_id(wanted, group).ok_or_else(|| UserError::NoGroup(wanted.into()))?;
        user.groups.clear();
    }
    user.groups.retain(|gid| *gid != user.gid);
    Ok(user)
}

fn group_lines(group: &str) -> impl Iterator<Item = Vec<&str>> {
    group.lines().map(|line| line.split(':').collect::<Vec<_>>()).filter(|fields| fields.len() >= 3)
}

fn group_id(wanted: &str, group: &str) -> Option<u32> {
    let named = group_lines(group).find(|fields| fields[0] == wanted);
    named.map_or(wanted, |fields| fields[2]).parse().ok()
}

fn groups_of(user: &str, group: &str) -> Vec<u32> {
    group_lines(group)
        .filter(|fields| fields.get(3).is_some_and(|members| members.split(',').any(|member| member == user)))
        .filter_map(|fields| fields[2].parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nwww:x:33:33::/var/www:/bin/false\nbroken\n";
    const GROUP: &str = "root:x:0:\nwww:x:33:\nssl:x:110:www,other\nnone:x:\n";

    #[test]
    fn users_are_found_as_docker_finds_them() {
        let of = |text| resolve(text, PASSWD, GROUP).unwrap();
        assert_eq!((of("").uid, of("").home), (0, Some("/root".into())));
        assert_eq!((of("www").uid, of("www").gid, of("www").groups), (33, 33, vec![110]));
        assert_eq!(of("33"), of("www"));
        assert_eq!((of("www:ssl").gid, of("www:ssl").groups), (110, vec![]));
        assert_eq!((of("1000").uid, of("1000").gid, of("1000").home), (1000, 0, None));
        assert_eq!((of("1000:5").uid, of("1000:5").gid), (1000, 5));
    }

    #[test]
    fn unknown_names_say_where_they_are_missing() {
        assert!(matches!(resolve("nobody", PASSWD, GROUP), Err(UserError::NoUser(_))));
        assert!(matches!(resolve("www:wheel", PASSWD, GROUP), Err(UserError::NoGroup(_))));
        assert!(matches!(resolve("-1", PASSWD, GROUP), Err(UserError::NoUser(_))));
    }
}
