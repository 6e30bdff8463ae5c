use super::accounts::Accounts;
use super::{scripts, sysusers};

fn accounts() -> Accounts {
    let passwd =
        "root:*:0:0:root:/root:/bin/bash\nwww-data:*:33:33:www-data:/var/www:/usr/sbin/nologin\nbroken\n";
    let group = "root:*:0:\nwww-data:*:33:\nssl-cert:*:101:\nnogroup:*:65534:\n";
    Accounts::parse(passwd, group)
}

fn new(accounts: &Accounts) -> Vec<String> {
    accounts.passwd().lines().skip(2).map(str::to_owned).collect()
}

#[test]
fn static_accounts_have_no_passwords() {
    let accounts = accounts();
    assert!(accounts.passwd().starts_with("root:x:0:0:root:/root:/bin/bash\nwww-data:x:33:33:"));
    assert_eq!(accounts.shadow(20_000).lines().next(), Some("root:*:20000:0:99999:7:::"));
    assert_eq!(accounts.gshadow().lines().next(), Some("root:*::"));
}

#[test]
fn scripts_that_say_it_plainly_create_system_users() {
    let mut accounts = accounts();
    let script = "
        adduser --system --quiet --home /var/lib/one --no-create-home --group one
        adduser --system --ingroup www-data --shell /bin/sh --gecos 'The second, really' two
        addgroup --system --quiet three
        useradd --system -d /srv/four -c \"Number 4\" four
        groupadd -r -g 117 five
        adduser one ssl-cert
        adduser --system $NAME
        adduser person
        adduser --system '../etc:x'
    ";
    scripts::read(script, &mut accounts);
    assert_eq!(
        new(&accounts),
        [
            "one:x:102:102::/var/lib/one:/usr/sbin/nologin",
            "two:x:103:33:The second, really:/nonexistent:/bin/sh",
            "four:x:104:104:Number 4:/srv/four:/usr/sbin/nologin",
        ]
    );
    let groups = accounts.group();
    for line in ["ssl-cert:x:101:one\n", "three:x:100:\n", "five:x:117:\n"] {
        assert!(groups.contains(line), "{groups}");
    }
}

#[test]
fn sysusers_files_are_read() {
    let mut accounts = accounts();
    let text = "# comment\nu one - \"One of them\" /var/lib/one\ng two 120\nu! three 130:two - - /bin/sh\nm one two\n";
    sysusers::read(text, &mut accounts);
    assert_eq!(
        new(&accounts),
        ["one:x:100:100:One of them:/var/lib/one:/usr/sbin/nologin", "three:x:130:120::/:/bin/sh"]
    );
    assert!(accounts.group().contains("two:x:120:one\n"));
}

#[test]
fn numbers_that_are_taken_are_not_given_again() {
    let mut accounts = accounts();
    sysusers::read("u one 33\nu one 34\ng other 101\n", &mut accounts);
    assert_eq!(new(&accounts), ["one:x:100:100::/:/usr/sbin/nologin"]);
    assert!(accounts.group().contains("other:x:102:\n"), "{}", accounts.group());
}
