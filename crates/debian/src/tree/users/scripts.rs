//! Accounts that maintainer scripts create, where the command is written out.

use super::accounts::{Accounts, Wanted};
use crate::tree::shell;

/// Options of the four programs that take a value in the next word.
const VALUED: [&str; 25] = [
    "--home",
    "--shell",
    "--gecos",
    "--comment",
    "--uid",
    "--gid",
    "--ingroup",
    "--conf",
    "--firstuid",
    "--lastuid",
    "--firstgid",
    "--lastgid",
    "--home-dir",
    "--groups",
    "--base-dir",
    "--skel",
    "--key",
    "-c",
    "-d",
    "-g",
    "-G",
    "-s",
    "-u",
    "-b",
    "-k",
];

pub(super) fn read(script: &str, accounts: &mut Accounts) {
    for program in ["addgroup", "groupadd"] {
        for words in shell::commands(script, program) {
            let call = Call::parse(&words);
            if let ([name], true) = (&call.names[..], call.system()) {
                accounts.add_group(name, call.number(&["--gid", "-g"]));
            }
        }
    }
    for words in shell::commands(script, "adduser") {
        adduser(&Call::parse(&words), accounts);
    }
    for words in shell::commands(script, "useradd") {
        useradd(&Call::parse(&words), accounts);
    }
}

fn adduser(call: &Call<'_>, accounts: &mut Accounts) {
    match &call.names[..] {
        [user, group] if !call.system() => accounts.join(user, group),
        [name] if call.system() => {
            let own = call.flag(&["--group"]).then(|| (*name).to_owned());
            let group = call.value(&["--ingroup"]).map(str::to_owned).or(own);
            let home = call.value(&["--home"]).map(str::to_owned);
            accounts.add_user(Wanted {
                name: (*name).to_owned(),
                uid: call.number(&["--uid"]),
                group,
                comment: call.value(&["--gecos", "--comment"]).unwrap_or_default().to_owned(),
                make_home: home.is_some() && !call.flag(&["--no-create-home"]),
                home,
                shell: call.value(&["--shell"]).map(str::to_owned),
            });
        }
        _ => {}
    }
}

fn useradd(call: &Call<'_>, accounts: &mut Accounts) {
    let ([name], true) = (&call.names[..], call.system()) else { return };
    let own = || (!call.flag(&["--no-user-group", "-N"])).then(|| (*name).to_owned());
    accounts.add_user(Wanted {
        name: (*name).to_owned(),
        uid: call.number(&["--uid", "-u"]),
        group: call.value(&["--gid", "-g"]).map(str::to_owned).or_else(own),
        comment: call.value(&["--comment", "-c"]).unwrap_or_default().to_owned(),
        home: call.value(&["--home", "--home-dir", "-d"]).map(str::to_owned),
        shell: call.value(&["--shell", "-s"]).map(str::to_owned),
        make_home: call.flag(&["--create-home", "-m"]),
    });
}

/// One call's options and names.
struct Call<'a> {
    options: Vec<(&'a str, Option<&'a str>)>,
    names: Vec<&'a str>,
}

impl<'a> Call<'a> {
    fn parse(words: &'a [String]) -> Self {
        let mut call = Self { options: Vec::new(), names: Vec::new() };
        let mut words = words.iter().map(String::as_str);
        while let Some(word) = words.next() {
            if matches!(word, "then" | "fi" | "}" | ")") {
                break;
            }
            match word.split_once('=') {
                Some((name, value)) if word.starts_with("--") => call.options.push((name, Some(value))),
                _ if VALUED.contains(&word) => call.options.push((word, words.next())),
                _ if word.starts_with('-') => call.options.push((word, None)),
                _ => call.names.push(word),
            }
        }
        call
    }

    fn flag(&self, names: &[&str]) -> bool {
        self.options.iter().any(|(name, _)| names.contains(name))
    }

    fn value(&self, names: &[&str]) -> Option<&'a str> {
        self.options.iter().find(|(name, _)| names.contains(name)).and_then(|(_, value)| *value)
    }

    fn number(&self, names: &[&str]) -> Option<u32> {
        self.value(names)?.parse().ok()
    }

    fn system(&self) -> bool {
        self.flag(&["--system", "-r"])
    }
}
