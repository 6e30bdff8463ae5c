//! Accounts as they stand in passwd(5) and group(5).

use std::collections::BTreeSet;

/// The numbers that Debian Policy 9.2.2 leaves to packages.
const DYNAMIC: std::ops::Range<u32> = 100..1000;

/// The group of users without one of their own.
const NOGROUP: u32 = 65534;

/// A user that a package wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) uid: Option<u32>,
    /// Primary group by name; created when it is not there. `None` is `nogroup`.
    pub(super) group: Option<String>,
    pub(super) comment: String,
    pub(super) home: Option<String>,
    pub(super) shell: Option<String>,
    pub(super) make_home: bool,
}

/// A user of the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
    comment: String,
    pub(super) home: String,
    shell: String,
    pub(super) make_home: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    name: String,
    gid: u32,
    members: BTreeSet<String>,
}

/// All accounts.
#[derive(Clone, Debug, Default)]
pub(super) struct Accounts {
    users: Vec<User>,
    groups: Vec<Group>,
    /// How many of the users were there at first.
    known: usize,
}

impl Accounts {
    /// Reads passwd and group files; lines that are none are left out.
    pub(super) fn parse(passwd: &str, group: &str) -> Self {
        let users: Vec<User> = passwd.lines().filter_map(user).collect();
        let groups = group.lines().filter_map(parse_group).collect();
        Self { known: users.len(), users, groups }
    }

    pub(super) fn new_users(&self) -> impl Iterator<Item = &User> {
        self.users.iter().skip(self.known)
    }

    fn free(&self) -> Option<u32> {
        DYNAMIC.into_iter().find(|id| {
            self.users.iter().all(|user| user.uid != *id) && self.groups.iter().all(|group| group.gid != *id)
        })
    }

    /// Makes a group exist; its number.
    pub(super) fn add_group(&mut self, name: &str, gid: Option<u32>) -> Option<u32> {
        if let Some(group) = self.groups.iter().find(|group| group.name == name) {
            return Some(group.gid);
        }
        if !is_account(name) {
            return None;
        }
        let taken = |gid: &u32| self.groups.iter().any(|group| group.gid == *gid);
        let gid = gid.filter(|gid| !taken(gid)).or_else(|| self.free())?;
        self.groups.push(Group { name: name.to_owned(), gid, members: BTreeSet::new() });
        Some(gid)
    }

    /// Makes a user exist.
    pub(super) fn add_user(&mut self, wanted: Wanted) {
        if !is_account(&wanted.name) || self.users.iter().any(|user| user.name == wanted.name) {
            return;
        }
        let taken = |uid: &u32| self.users.iter().any(|user| user.uid == *uid);
        let Some(uid) = wanted.uid.filter(|uid| !taken(uid)).or_else(|| self.free()) else { return };
        // A group of the user's own gets the user's number where it is free.
        let gid = match &wanted.group {
            Some(group) => self.add_group(group, Some(uid)),
            None => Some(NOGROUP),
        };
        let field = |text: String| text.replace([':', '\n'], " ");
        self.users.push(User {
            uid,
            gid: gid.unwrap_or(NOGROUP),
            comment: field(wanted.comment),
            home: field(wanted.home.unwrap_or_else(|| "/nonexistent".to_owned())),
            shell: field(wanted.shell.unwrap_or_else(|| "/usr/sbin/nologin".to_owned())),
            make_home: wanted.make_home,
            name: wanted.name,
        });
    }

    /// Puts a user into a group, if both are there.
    pub(super) fn join(&mut self, user: &str, group: &str) {
        if self.users.iter().any(|known| known.name == user)
            && let Some(group) = self.groups.iter_mut().find(|known| known.name == group)
        {
            group.members.insert(user.to_owned());
        }
    }

    pub(super) fn passwd(&self) -> String {
        let line = |user: &User| {
            let User { name, uid, gid, comment, home, shell, .. } = user;
            format!("{name}:x:{uid}:{gid}:{comment}:{home}:{shell}\n")
        };
        self.users.iter().map(line).collect()
    }

    pub(super) fn group(&self) -> String {
        let members = |group: &Group| group.members.iter().cloned().collect::<Vec<_>>().join(",");
        self.groups
            .iter()
            .map(|group| format!("{}:x:{}:{}\n", group.name, group.gid, members(group)))
            .collect()
    }

    /// Nobody has a password. `day` counts from the Unix epoch.
    pub(super) fn shadow(&self, day: i64) -> String {
        self.users.iter().map(|user| format!("{}:*:{day}:0:99999:7:::\n", user.name)).collect()
    }

    pub(super) fn gshadow(&self) -> String {
        let members = |group: &Group| group.members.iter().cloned().collect::<Vec<_>>().join(",");
        self.groups.iter().map(|group| format!("{}:*::{}\n", group.name, members(group))).collect()
    }
}

/// Names that adduser allows for system accounts.
fn is_account(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    !name.is_empty() && name.len() <= 32 && !name.starts_with(['-', '.']) && name.bytes().all(plain)
}

fn user(line: &str) -> Option<User> {
    let fields: Vec<&str> = line.split(':').collect();
    let [name, _, uid, gid, comment, home, shell] = fields[..] else { return None };
    Some(User {
        name: name.to_owned(),
        uid: uid.parse().ok()?,
        gid: gid.parse().ok()?,
        comment: comment.to_owned(),
        home: home.to_owned(),
        shell: shell.to_owned(),
        make_home: false,
    })
}

fn parse_group(line: &str) -> Option<Group> {
    let fields: Vec<&str> = line.split(':').collect();
    let [name, _, gid, members] = fields[..] else { return None };
    let members = members.split(',').filter(|member| !member.is_empty()).map(str::to_owned).collect();
    Some(Group { name: name.to_owned(), gid: gid.parse().ok()?, members })
}
