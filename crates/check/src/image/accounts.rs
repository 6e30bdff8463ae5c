//! Users and groups of an image (passwd(5), group(5)).

use std::io;

use super::files::View;

/// A line of /etc/passwd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) home: String,
    pub(crate) shell: String,
    /// Names of all groups it is in, the primary one first.
    pub(crate) groups: Vec<String>,
}

/// The image's tables.
#[derive(Clone, Debug, Default)]
pub(crate) struct Accounts {
    pub(crate) users: Vec<User>,
    /// Names and numbers.
    pub(crate) groups: Vec<(String, u32)>,
}

impl Accounts {
    pub(crate) fn read(view: &View<'_>) -> io::Result<Self> {
        Ok(Self::parse(&view.table("/etc/passwd")?, &view.table("/etc/group")?))
    }

    fn parse(passwd: &str, group: &str) -> Self {
        let lines = |text: &'_ str| -> Vec<Vec<String>> {
            text.lines().map(|line| line.split(':').map(str::to_owned).collect()).collect()
        };
        let members: Vec<(String, u32, Vec<String>)> = lines(group)
            .into_iter()
            .filter_map(|fields| {
                let members = fields.get(3).map(|list| list.split(',').map(str::to_owned).collect());
                Some((fields.first()?.clone(), fields.get(2)?.parse().ok()?, members.unwrap_or_default()))
            })
            .collect();
        let user = |fields: Vec<String>| {
            let (name, gid) = (fields.first()?.clone(), fields.get(3)?.parse().ok()?);
            let primary = members.iter().filter(|(_, number, _)| *number == gid);
            let others = members.iter().filter(|(_, number, list)| *number != gid && list.contains(&name));
            Some(User {
                uid: fields.get(2)?.parse().ok()?,
                gid,
                home: fields.get(5).cloned().unwrap_or_default(),
                shell: fields.get(6).cloned().unwrap_or_default(),
                groups: primary.chain(others).map(|(group, ..)| group.clone()).collect(),
                name,
            })
        };
        Self {
            users: lines(passwd).into_iter().filter_map(user).collect(),
            groups: members.iter().map(|(name, gid, _)| (name.clone(), *gid)).collect(),
        }
    }

    pub(crate) fn user(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|user| user.name == name)
    }

    pub(crate) fn group(&self, name: &str) -> Option<u32> {
        self.groups.iter().find(|(known, _)| known == name).map(|(_, gid)| *gid)
    }

    /// The user's name, or its number where it has none.
    pub(crate) fn user_name(&self, uid: u32) -> String {
        let known = self.users.iter().find(|user| user.uid == uid);
        known.map_or_else(|| uid.to_string(), |user| user.name.clone())
    }

    /// The group's name, or its number where it has none.
    pub(crate) fn group_name(&self, gid: u32) -> String {
        let known = self.groups.iter().find(|(_, number)| *number == gid);
        known.map_or_else(|| gid.to_string(), |(name, _)| name.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_know_all_their_groups_and_broken_lines_are_left_out() {
        let accounts = Accounts::parse(
            "root:x:0:0:root:/root:/bin/sh\nweb:x:33:33::/srv:/bin/false\nbroken\nx:y:z:1:::\n",
            "root:x:0:\nweb:x:33:\nssl:x:110:other,web\nnone:x:\n",
        );
        let web = accounts.user("web").unwrap();
        assert_eq!((web.uid, web.gid, web.home.as_str(), web.shell.as_str()), (33, 33, "/srv", "/bin/false"));
        assert_eq!(web.groups, ["web", "ssl"]);
        assert_eq!(accounts.users.len(), 2);
        assert_eq!((accounts.group("ssl"), accounts.group("none")), (Some(110), None));
        assert_eq!((accounts.user_name(33), accounts.group_name(7)), ("web".into(), "7".into()));
    }
}
